package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"syscall"
	"time"

	"github.com/google/uuid"
	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/process"
	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
)

// runTask takes a task from the master: its executor gets it, or is launched for it.
func (a *Agent) runTask(run *link.Run) error {
	frameworkInfo, info := &v1.FrameworkInfo{}, &v1.TaskInfo{}
	if err := run.Framework.Decode(frameworkInfo); err != nil {
		return fmt.Errorf("run task: framework: %w", err)
	}
	if err := run.Task.Decode(info); err != nil {
		return fmt.Errorf("run task: %w", err)
	}
	if a.closing {
		return nil // the master answers for it when the agent leaves
	}
	f := a.frameworks[frameworkInfo.ID.Value]
	if f == nil {
		f = &framework{id: frameworkInfo.ID.Value, executors: map[string]*executor{}}
		a.frameworks[f.id] = f
	}
	f.info = frameworkInfo
	executorInfo, command := executorFor(frameworkInfo, info)
	e := f.executors[executorInfo.ExecutorID.Value]
	switch {
	case e == nil:
		a.launchExecutor(f, executorInfo, command, info)
	case e.phase >= terminating:
		a.dropTask(e, info)
	default:
		if err := a.linkVolumes(e.sandbox, info.Resources); err != nil {
			a.log.Error("volume is not in the sandbox", "task", info.TaskID.Value, "error", err)
		}
		t := e.addTask(info)
		a.checkpoint(e)
		if e.phase == running {
			a.sendLaunch(t)
		}
	}
	return nil
}

// dropTask answers for a task whose executor is about to end.
func (a *Agent) dropTask(e *executor, info *v1.TaskInfo) {
	state := v1.TASK_LOST
	for _, capability := range e.framework.info.Capabilities {
		if capability.Type == v1.FrameworkInfo_Capability_PARTITION_AWARE {
			state = v1.TASK_DROPPED
		}
	}
	t := e.addTask(info)
	a.takeUpdate(t, t.agentStatus(state, v1.REASON_EXECUTOR_TERMINATED, "Executor terminating/terminated"))
}

// executorFor is the executor that a task names, or one made up for a command task,
// which is named like its task.
func executorFor(framework *v1.FrameworkInfo, task *v1.TaskInfo) (info *v1.ExecutorInfo, command bool) {
	if task.Executor != nil {
		return task.Executor, false
	}
	name, source := "Command Executor (Task: "+task.TaskID.Value+")", task.TaskID.Value
	return &v1.ExecutorInfo{
		Type: v1.ExecutorInfo_CUSTOM, ExecutorID: v1.ExecutorID{Value: task.TaskID.Value},
		FrameworkID: framework.ID, Name: &name, Source: &source,
		Command: task.Command, Resources: task.Resources, Labels: task.Labels,
	}, true
}

// launchExecutor begins a container; the rest happens in the background.
func (a *Agent) launchExecutor(f *framework, info *v1.ExecutorInfo, command bool, first *v1.TaskInfo) {
	e := &executor{
		framework: f, user: f.info.User, info: info, command: command, container: uuid.NewString(),
		tasks: map[string]*task{},
	}
	e.sandbox = a.sandboxOf(f.id, e.id(), e.container)
	f.executors[e.id()] = e
	e.addTask(first)
	a.checkpoint(e)
	ctx, cancel := context.WithCancel(a.ctx)
	e.cancelLife = cancel
	if !command {
		e.cancelWait = a.after(a.cfg.ExecutorRegistrationTimeout, func() {
			a.kill(e, &termination{
				reason:  v1.REASON_EXECUTOR_REGISTRATION_TIMEOUT,
				message: "Executor did not register within " + duration(a.cfg.ExecutorRegistrationTimeout),
			})
		})
	}
	a.log.Info("executor is launched", "executor", e.id(), "framework", f.id, "container", e.container)
	a.background.Go(func() {
		defer cancel()
		a.launch(ctx, e)
	})
}

// sandboxOf is laid out as in Mesos.
func (a *Agent) sandboxOf(framework, executor, container string) string {
	return filepath.Join(a.cfg.WorkDir, "slaves", a.id(), "frameworks", framework,
		"executors", executor, "runs", container)
}

// launch makes the sandbox, fetches and starts, and stays until the container has
// ended.
func (a *Agent) launch(ctx context.Context, e *executor) {
	if err := a.prepare(ctx, e); err != nil {
		a.launchFailed(e, fmt.Sprintf("Failed to launch container: %v", err))
		return
	}
	a.mu.Lock()
	if e.phase >= terminating || a.ctx.Err() != nil {
		a.mu.Unlock()
		a.ended(e, int32(syscall.SIGKILL))
		return
	}
	err := a.start(e)
	if err == nil {
		a.checkpoint(e)
	}
	a.mu.Unlock()
	if err != nil {
		a.launchFailed(e, fmt.Sprintf("Failed to launch container: %v", err))
		return
	}
	a.await(e)
}

// prepare makes the sandbox and brings the URIs into it.
func (a *Agent) prepare(ctx context.Context, e *executor) error {
	if err := a.makeSandbox(e); err != nil {
		return err
	}
	a.mu.Lock()
	rs := resource.Sum(e.info.Resources, e.limits())
	a.mu.Unlock()
	if err := a.linkVolumes(e.sandbox, rs); err != nil {
		return err
	}
	var logs [2]*os.File
	for i, name := range []string{"stdout", "stderr"} {
		file, err := openLog(e.sandbox, name)
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // only the fetcher's words are lost
		logs[i] = file
	}
	uris := e.info.GetCommand().GetURIs()
	if err := a.fetcher.Fetch(ctx, e.user, uris, e.sandbox, logs[1]); err != nil {
		a.log.Warn("fetch failed", "executor", e.id(), "error", err)
		//lint:ignore ST1005 Mesos' own words
		return fmt.Errorf("Failed to fetch all URIs for container '%s': exited with status 1", e.container)
	}
	return nil
}

// makeSandbox makes the directory, and "latest" beside it.
func (a *Agent) makeSandbox(e *executor) error {
	a.layout.Lock()
	defer a.layout.Unlock()
	if err := os.MkdirAll(e.sandbox, 0o755); err != nil {
		//lint:ignore ST1005 ends up in Mesos' own words
		return fmt.Errorf("Failed to create sandbox: %w", err)
	}
	latest := filepath.Join(filepath.Dir(e.sandbox), "latest")
	if err := os.Remove(latest); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.Symlink(e.sandbox, latest)
}

func openLog(sandbox, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(sandbox, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
}

// start begins the process in a session of its own; it outlives the agent.
func (a *Agent) start(e *executor) error {
	name, argv, err := e.commandLine()
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close() //nolint:errcheck // the process has its own
	stdout, err := openLog(e.sandbox, "stdout")
	if err != nil {
		return err
	}
	defer stdout.Close() //nolint:errcheck // the process has its own
	stderr, err := openLog(e.sandbox, "stderr")
	if err != nil {
		return err
	}
	defer stderr.Close() //nolint:errcheck // the process has its own
	started, err := os.StartProcess(name, argv, &os.ProcAttr{
		Dir: e.sandbox, Env: a.environment(e), Files: []*os.File{null, stdout, stderr},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	if e.process, err = process.Identify(started.Pid); err != nil {
		return err
	}
	e.phase = registering
	if e.command {
		e.phase = running
		a.commandStarted(e)
	}
	// await reaps it by its PID: that works for the next agent too.
	return started.Release()
}

// commandLine is what to execute: a shell command, or a program with arguments.
func (e *executor) commandLine() (name string, argv []string, err error) {
	command := e.info.GetCommand()
	if e.command {
		return "/bin/sh", e.commandWrapper(), nil
	}
	if command.GetShell() {
		return "/bin/sh", []string{"sh", "-c", command.GetValue()}, nil
	}
	name = command.GetValue()
	if name == "" {
		return "", nil, fmt.Errorf("executor %q: no command", e.id())
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(e.sandbox, name)
	}
	argv = command.Arguments
	if len(argv) == 0 {
		argv = []string{command.GetValue()}
	}
	return name, argv, nil
}

// environment is all that the process gets: a PATH, what the agent is configured to
// give, the variables of Mesos, and on top those of the command.
func (a *Agent) environment(e *executor) []string {
	variables := map[string]string{"PATH": os.Getenv("PATH")}
	for name, value := range a.cfg.ExecutorEnvironment {
		variables[name] = value
	}
	grace := a.gracePeriod(e)
	for name, value := range map[string]string{
		"LIBPROCESS_IP":                        "127.0.0.1",
		"LIBPROCESS_PORT":                      "0",
		"MESOS_AGENT_ENDPOINT":                 a.endpoint(),
		"MESOS_CHECKPOINT":                     "0",
		"MESOS_DIRECTORY":                      e.sandbox,
		"MESOS_EXECUTOR_ID":                    e.id(),
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": duration(grace),
		"MESOS_FRAMEWORK_ID":                   e.framework.id,
		"MESOS_HTTP_COMMAND_EXECUTOR":          "0",
		"MESOS_SANDBOX":                        e.sandbox,
		"MESOS_SLAVE_ID":                       a.id(),
		"MESOS_SLAVE_PID":                      a.pid(),
	} {
		variables[name] = value
	}
	if a.cfg.TLS != nil {
		variables["LIBPROCESS_SSL_ENABLED"] = "true"
	}
	if a.cfg.CAFile != "" {
		variables["LIBPROCESS_SSL_CA_FILE"] = a.cfg.CAFile
	}
	if a.cfg.DomainSocket != "" {
		variables["MESOS_DOMAIN_SOCKET"] = a.cfg.DomainSocket
	}
	if len(a.cfg.ExecutorKey) > 0 && !e.command {
		variables["MESOS_EXECUTOR_AUTHENTICATION_TOKEN"] = a.executorToken(e)
	}
	if e.framework.info.GetCheckpoint() {
		variables["MESOS_CHECKPOINT"] = "1"
		variables["MESOS_RECOVERY_TIMEOUT"] = duration(a.cfg.RecoveryTimeout)
		variables["MESOS_SUBSCRIPTION_BACKOFF_MAX"] = duration(2 * time.Second)
	}
	for _, variable := range e.info.GetCommand().GetEnvironment().GetVariables() {
		variables[variable.Name] = variable.GetValue()
	}
	list := make([]string, 0, len(variables))
	for name, value := range variables {
		list = append(list, name+"="+value)
	}
	sort.Strings(list)
	return list
}

func (a *Agent) gracePeriod(e *executor) time.Duration {
	if period := e.info.GetShutdownGracePeriod(); period != nil {
		return time.Duration(period.Nanoseconds)
	}
	return a.cfg.ShutdownGracePeriod
}

// duration spells a duration as Mesos does: in the largest unit that it fills.
func duration(d time.Duration) string {
	units := []struct {
		name string
		size time.Duration
	}{
		{"weeks", 7 * 24 * time.Hour}, {"days", 24 * time.Hour}, {"hrs", time.Hour}, {"mins", time.Minute},
		{"secs", time.Second}, {"ms", time.Millisecond}, {"us", time.Microsecond},
	}
	for _, unit := range units {
		if d >= unit.size {
			return strconv.FormatFloat(float64(d)/float64(unit.size), 'g', -1, 64) + unit.name
		}
	}
	return strconv.FormatInt(int64(d), 10) + "ns"
}

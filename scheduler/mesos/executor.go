package mesos

import (
	"fmt"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/scheduler"
)

// executorFile is the executor's name in the sandbox. Task processes run the same file.
const executorFile = "tidemill-executor"

// ExecutorInfo marshals the mesos.ExecutorInfo of a plan, for scheduler.Config. It is pure: the same plan gives the same
// bytes, whichever build of the scheduler makes them as long as this function is the same. Mesos compares almost all of
// it with the executor that runs already, so the bytes are stored and sent again rather than made again.
//
// The fetcher's cache is on: the URL must never change its content. Mesos checks no sum, so the command does, before
// the file is run.
func ExecutorInfo(plan scheduler.ExecutorPlan) []byte {
	yes, no, file, command := true, false, executorFile, launchCommand(plan.SHA256)
	info := &mesosgo.ExecutorInfo{
		Type:        mesosgo.ExecutorInfo_CUSTOM,
		ExecutorID:  mesosgo.ExecutorID{Value: plan.ID},
		FrameworkID: &mesosgo.FrameworkID{Value: plan.FrameworkID},
		Name:        optional(plan.Name),
		Command: &mesosgo.CommandInfo{
			Shell: &yes,
			Value: &command,
			URIs: []mesosgo.CommandInfo_URI{{
				Value:      plan.URL,
				Executable: &yes,
				Extract:    &no,
				Cache:      &yes,
				OutputFile: &file,
			}},
		},
		Resources: resources(jobs.Resources{CPUs: plan.CPUs, Memory: plan.Memory}, plan.Role),
		Data:      plan.Data,
		Labels:    labels(plan.Labels),
	}
	if plan.ShutdownGrace > 0 {
		info.ShutdownGracePeriod = &mesosgo.DurationInfo{Nanoseconds: plan.ShutdownGrace.Nanoseconds()}
	}
	data, err := info.Marshal()
	if err != nil {
		// Only a message without its required fields fails, and this one has them.
		panic(fmt.Sprintf("marshal executor %q: %v", plan.ID, err))
	}
	return data
}

// launchCommand refuses a file whose sum is not the registered one, and says so in the sandbox's stderr. Where the agent has
// openssl that is asked first: for an executor of 60 MB it takes 0.05 s, sha256sum of Debian 0.2 to 0.3 s.
func launchCommand(sum string) string {
	return fmt.Sprintf(`sum=$(openssl dgst -sha256 -r %[2]s 2>/dev/null || sha256sum %[2]s); [ "${sum%%%% *}" = %[1]s ] || `+
		`{ echo "refusing to run %[2]s: the SHA-256 of the fetched file is not %[1]s" >&2; exit 1; }; exec ./%[2]s`,
		sum, executorFile)
}

func decodeExecutor(data []byte) (info *mesosgo.ExecutorInfo, err error) {
	defer func() {
		if r := recover(); r != nil {
			info, err = nil, fmt.Errorf("decode executor info: %v", r)
		}
	}()
	info = new(mesosgo.ExecutorInfo)
	if err := info.Unmarshal(data); err != nil {
		return nil, fmt.Errorf("decode executor info: %w", err)
	}
	return info, nil
}

package master

import (
	"math"
	"strings"
	"testing"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/allocator"
	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
)

func TestRoleProblem(t *testing.T) {
	tests := []struct{ role, want string }{
		{"*", ""}, {"data", ""}, {"data/batch", ""}, {"a-b_c.d", ""},
		{"", "Empty role name is invalid"},
		{"/a", "Role '/a' cannot start with a slash"},
		{"a/", "Role 'a/' cannot end with a slash"},
		{"a//b", "Role 'a//b' cannot contain two adjacent slashes"},
		{"a/../b", "Role 'a/../b' cannot include '..' as a component"},
		{".", "Role '.' cannot include '.' as a component"},
		{"a/*", "Role 'a/*' cannot include '*' as a component"},
		{"a/-b", "Role component '-b' is invalid because it begins with a dash"},
		{"a b", "Role component 'a b' is invalid because it contains backspace or whitespace"},
	}
	for _, test := range tests {
		if got := roleProblem(test.role); got != test.want {
			t.Errorf("%q: got %q, want %q", test.role, got, test.want)
		}
	}
}

func TestIDProblem(t *testing.T) {
	tests := []struct{ id, want string }{
		{"run-1.map_2", ""}, {"with space", ""}, {strings.Repeat("x", 255), ""},
		{"", "ID must not be empty"},
		{strings.Repeat("x", 256), "ID must not be greater than 255 characters"},
		{"..", "'..' is disallowed"},
		{"a/b", "'a/b' contains invalid characters"},
		{"a\x00b", "'a\x00b' contains invalid characters"},
	}
	for _, test := range tests {
		if got := idProblem(test.id); got != test.want {
			t.Errorf("%q: got %q, want %q", test.id, got, test.want)
		}
	}
}

func TestFrameworkProblem(t *testing.T) {
	multi := []v1.FrameworkInfo_Capability{{Type: v1.FrameworkInfo_Capability_MULTI_ROLE}}
	role, bad, never := "a", "a b", math.Inf(-1)
	tests := []struct {
		info v1.FrameworkInfo
		want string
	}{
		{v1.FrameworkInfo{}, ""},
		{v1.FrameworkInfo{Role: &role}, ""},
		{v1.FrameworkInfo{Role: &bad}, "'FrameworkInfo.role' is not a valid role: Role component 'a b' is invalid because it contains backspace or whitespace"},
		{v1.FrameworkInfo{Roles: []string{"a"}}, "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"},
		{v1.FrameworkInfo{Roles: []string{"a", "b"}, Capabilities: multi}, ""},
		{v1.FrameworkInfo{Roles: []string{"a", "a"}, Capabilities: multi}, "'FrameworkInfo.roles' contains duplicate items: a"},
		{v1.FrameworkInfo{ID: &v1.FrameworkID{Value: "a/b"}}, "'FrameworkInfo.id' is not a valid ID: 'a/b' contains invalid characters"},
		{v1.FrameworkInfo{FailoverTimeout: &never}, "The framework failover_timeout (-Inf) is invalid: Duration must not be negative"},
	}
	for _, test := range tests {
		if got := frameworkProblem(&test.info); got != test.want {
			t.Errorf("%v: got %q, want %q", test.info, got, test.want)
		}
	}
}

func TestUpdateProblem(t *testing.T) {
	rec, yes := "rec", true
	old := v1.FrameworkInfo{User: "root", Principal: &rec, Checkpoint: &yes}
	tests := []struct {
		change func(*v1.FrameworkInfo)
		want   string
	}{
		{func(i *v1.FrameworkInfo) { i.Name, i.Roles, i.Labels = "other", []string{"a"}, &v1.Labels{} }, ""},
		{func(i *v1.FrameworkInfo) { i.Principal = nil }, "Changing framework's principal is not allowed."},
		{func(i *v1.FrameworkInfo) { i.User = "nobody" },
			"Updating 'FrameworkInfo.user' is unsupported; attempted to update from 'root' to 'nobody'"},
		{func(i *v1.FrameworkInfo) { i.Checkpoint = nil },
			"Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from 'true' to 'false'"},
	}
	for _, test := range tests {
		changed := old
		test.change(&changed)
		if got := updateProblem(&old, &changed); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	info := &v1.FrameworkInfo{Roles: []string{"a", "b"}, Capabilities: []v1.FrameworkInfo_Capability{{Type: v1.FrameworkInfo_Capability_MULTI_ROLE}}}
	for want, suppressed := range map[string][]string{
		"": {"b"}, "Suppressed roles { c, d } are not contained in the set of roles": {"d", "a", "c", "d"},
	} {
		if got := suppressedProblem(info, suppressed); got != want {
			t.Errorf("%q: got %q, want %q", suppressed, got, want)
		}
	}
}

func TestConversionOf(t *testing.T) {
	role, principal := "data", "rec"
	reservation := v1.Resource_ReservationInfo{Type: v1.Resource_ReservationInfo_DYNAMIC.Enum(), Role: &role, Principal: &principal}
	plain := v1.Resources{resource.Scalar("disk", 10)}
	reserved := plain.PushReservation(reservation)
	volume := func(id, path string) v1.Resources {
		rs := reserved.Clone()
		rs[0].Disk = &v1.Resource_DiskInfo{Persistence: &v1.Resource_DiskInfo_Persistence{ID: id},
			Volume: &v1.Volume{ContainerPath: path, Mode: v1.RW.Enum()}}
		return rs
	}
	const marked = "disk(reservations: [(DYNAMIC,data,rec)])"
	reserve := func(rs v1.Resources) v1.Offer_Operation {
		return v1.Offer_Operation{Type: v1.Offer_Operation_RESERVE, Reserve: &v1.Offer_Operation_Reserve{Resources: rs}}
	}
	create := func(rs v1.Resources) v1.Offer_Operation {
		return v1.Offer_Operation{Type: v1.Offer_Operation_CREATE, Create: &v1.Offer_Operation_Create{Volumes: rs}}
	}
	tests := []struct {
		operation      v1.Offer_Operation
		want, problems string // the beginning
	}{
		{reserve(reserved), "disk:10 -> " + marked + ":10", ""},
		{v1.Offer_Operation{Type: v1.Offer_Operation_UNRESERVE, Unreserve: &v1.Offer_Operation_Unreserve{Resources: reserved}},
			marked + ":10 -> disk:10", ""},
		{create(volume("v", "state")), marked + ":10 -> " + marked + "[v:state]:10", ""},
		{v1.Offer_Operation{Type: v1.Offer_Operation_DESTROY, Destroy: &v1.Offer_Operation_Destroy{Volumes: volume("v", "state")}},
			marked + "[v:state]:10 -> " + marked + ":10", ""},
		{reserve(nil), "", "Empty resources"},
		{reserve(plain), "", "Resource disk:10 is not dynamically reserved"},
		{reserve(volume("v", "state")), "", "A persistent volume "},
		{create(nil), "", "Empty volumes"},
		{create(reserved), "", "'persistence' is not set in DiskInfo"},
		{create(volume("v", "../state")), "", "The 'container_path' of a persistent volume must be inside the sandbox"},
		{create(volume("../v", "state")), "", "Invalid persistence ID: "},
	}
	for _, test := range tests {
		c, problem := conversionOf(&test.operation)
		if test.problems == "" && problem != "" || !strings.HasPrefix(problem, test.problems) {
			t.Errorf("%s: got %q, want %q…", test.operation.Type, problem, test.problems)
		}
		if got := resource.Format(c.from) + " -> " + resource.Format(c.to); test.want != "" && got != test.want {
			t.Errorf("%s: got %s, want %s", test.operation.Type, got, test.want)
		}
	}
}

// TestTaskProblem covers what no recording shows.
func TestTaskProblem(t *testing.T) {
	f := &framework{id: "f", info: &v1.FrameworkInfo{ID: &v1.FrameworkID{Value: "f"}}, tasks: map[string]*task{}}
	a := &agent{id: "s", executors: map[string]map[string]*executor{}}
	h := allocator.Holder{Framework: "f", Role: "data"}
	text, other := "true", "false"
	known := &v1.ExecutorInfo{
		ExecutorID: v1.ExecutorID{Value: "known"}, Command: &v1.CommandInfo{Value: &text}, Resources: []v1.Resource{resource.Scalar("cpus", 0.1)},
	}
	base := v1.TaskInfo{
		TaskID: v1.TaskID{Value: "t"}, AgentID: v1.AgentID{Value: "s"},
		Resources: []v1.Resource{resource.Scalar("cpus", 1)}, Executor: known,
	}
	complete(f, h, &base)
	a.addExecutor("f", base.Executor, false)

	star := "*"
	tests := []struct {
		name   string
		change func(*v1.TaskInfo)
		want   string // the beginning
	}{
		{"fits", func(*v1.TaskInfo) {}, ""},
		{"the older form of resources", func(i *v1.TaskInfo) { i.Resources[0].Role = &star }, ""},
		{"other labels", func(i *v1.TaskInfo) { i.Executor.Labels = &v1.Labels{} }, ""},
		{"another command", func(i *v1.TaskInfo) { i.Executor.Command = &v1.CommandInfo{Value: &other} },
			"ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n---"},
		{"other data", func(i *v1.TaskInfo) { i.Executor.Data = []byte("x") }, "ExecutorInfo is not compatible "},
		{"more for the executor", func(i *v1.TaskInfo) { i.Executor.Resources = []v1.Resource{resource.Scalar("cpus", 0.2)} },
			"ExecutorInfo is not compatible "},
		{"another framework", func(i *v1.TaskInfo) { i.Executor.FrameworkID = &v1.FrameworkID{Value: "x"} },
			"ExecutorInfo has an invalid FrameworkID (Actual: x vs Expected: f)"},
		{"a shell without a command", func(i *v1.TaskInfo) { i.Executor, i.Command = nil, &v1.CommandInfo{} },
			"Task's `CommandInfo` is invalid: Shell command without a 'value'"},
		{"an executor without a command", func(i *v1.TaskInfo) {
			i.Executor.Command, i.Executor.Type = nil, v1.ExecutorInfo_CUSTOM
		}, "'ExecutorInfo.command' must be set for 'CUSTOM' executor"},
		{"the default executor", func(i *v1.TaskInfo) { i.Executor.Type = v1.ExecutorInfo_DEFAULT }, "This Mesos has no default executor"},
		{"negative", func(i *v1.TaskInfo) { i.Resources[0].Scalar = &v1.Value_Scalar{Value: -1} }, "Task uses invalid resources: "},
		{"impatient", func(i *v1.TaskInfo) {
			i.KillPolicy = &v1.KillPolicy{GracePeriod: &v1.DurationInfo{Nanoseconds: -1}}
		}, "Task's 'kill_policy.grace_period' must be non-negative"},
		{"too much together", func(i *v1.TaskInfo) {
			i.Executor.ExecutorID.Value, i.Resources[0].Scalar = "new", &v1.Value_Scalar{Value: 2}
		}, "Total resources cpus(allocated: data):2.1 required by task and its executor is more than available cpus(allocated: data):2"},
	}
	left := v1.Resources{resource.Scalar("cpus", 2)}.Allocate("data")
	for _, test := range tests {
		info := base
		info.Resources = []v1.Resource{resource.Scalar("cpus", 1)}
		executor := *known
		info.Executor = &executor
		test.change(&info)
		complete(f, h, &info)
		got := taskProblem(f, a, &info, left)
		if test.want == "" && got != "" || !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: got %q, want %q…", test.name, got, test.want)
		}
	}
}

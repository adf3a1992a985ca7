package mesos_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	api "github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/dev/mesos"
	"github.com/tidemill/tidemill/dev/mesos/agent"
)

func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func isFailure(e *scheduler.Event) bool {
	return e.Type == scheduler.Event_FAILURE && e.Failure.ExecutorID == nil
}

// agentOf is the index of the agent that an offer is of.
func agentOf(t *testing.T, cluster *mesos.Cluster, offer v1.Offer) int {
	t.Helper()
	for i := range cluster.Agents {
		if id, err := cluster.AgentID(t.Context(), i); err != nil || id == offer.AgentID {
			return i
		}
	}
	t.Fatalf("%s is of no agent", offer.AgentID.Value)
	return 0
}

func TestDrainedAgentGoes(t *testing.T) {
	cluster := start(t, func(cfg *mesos.ClusterConfig) { cfg.Agents = 2 })
	c := subscribe(t, cluster.URL(), frameworkInfo())
	offer := c.offer()
	at := agentOf(t, cluster, offer)
	c.launch(offer, command("one", "trap '' TERM; while :; do sleep 0.01; done"))
	c.status("one", v1.TASK_RUNNING)
	if err := cluster.Drain(t.Context(), at, 20*time.Millisecond, true); err != nil {
		t.Fatal(err)
	}
	status := c.status("one", v1.TASK_GONE_BY_OPERATOR)
	if status.GetReason() != v1.REASON_AGENT_DRAINING || status.GetAgentID().GetValue() != offer.AgentID.Value {
		t.Errorf("got %v", status)
	}
	c.next("the agent's end", isFailure)
	<-cluster.AgentEnded(at)
	refused(t, cluster.Drain(t.Context(), at, 0, false), "Unknown agent")
	c.reconcile("one", offer.AgentID)
	if got := c.status("one", v1.TASK_GONE_BY_OPERATOR).GetMessage(); got != "Reconciliation: Task is gone" {
		t.Errorf("got %q", got)
	}
}

// TestDrainOfAnAbsentAgent drains an agent that is partitioned: it hears of it when it
// comes back.
func TestDrainOfAnAbsentAgent(t *testing.T) {
	cluster := start(t, func(cfg *mesos.ClusterConfig) { cfg.Master.AgentTimeout = 300 * time.Millisecond })
	c := subscribe(t, cluster.URL(), frameworkInfo())
	c.launch(c.offer(), command("one", "sleep 300"))
	c.status("one", v1.TASK_RUNNING)
	cluster.Partition(0)
	c.status("one", v1.TASK_UNREACHABLE)
	if err := cluster.Drain(t.Context(), 0, -1, false); err != nil {
		t.Fatal(err)
	}
	refused(t, cluster.Reactivate(t.Context(), 0), "Agent is still in the DRAINING state")
	cluster.Heal(0)
	if got := c.status("one", v1.TASK_KILLED); got.GetReason() != v1.REASON_AGENT_DRAINING {
		t.Errorf("got %v", got)
	}
	eventually(t, "the agent is drained", func() bool { return cluster.Reactivate(t.Context(), 0) == nil })
	c.offer()
}

func TestDeactivatedAgentGoesOnWithItsTasks(t *testing.T) {
	cluster := start(t)
	c := subscribe(t, cluster.URL(), frameworkInfo())
	gate := filepath.Join(t.TempDir(), "gate")
	c.launch(c.offer(), command("one", "while [ ! -e "+gate+" ]; do sleep 0.01; done"))
	c.status("one", v1.TASK_RUNNING)
	refused(t, cluster.Reactivate(t.Context(), 0), "Agent is not deactivated")
	rest := c.offer()
	if err := cluster.Deactivate(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := c.event(scheduler.Event_RESCIND).Rescind.OfferID; got != rest.ID {
		t.Errorf("rescinded %v, want %v", got, rest.ID)
	}
	_, state := get(t, cluster.URL()+"/state")
	if !strings.Contains(state, `"deactivated":true`) || !strings.Contains(state, `"active":false,"attributes"`) {
		t.Errorf("got %s", state)
	}
	touch(t, gate)
	c.status("one", v1.TASK_FINISHED)
	if err := cluster.Reactivate(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	c.offer()
}

func TestMaintenance(t *testing.T) {
	cluster := start(t, func(cfg *mesos.ClusterConfig) {
		cfg.Agents = 2
		cfg.Customize = func(i int, cfg *agent.Config) { cfg.Hostname = []string{"one", "two"}[i] }
	})
	c := subscribe(t, cluster.URL(), frameworkInfo())
	offers := map[string]v1.Offer{}
	for len(offers) < 2 {
		offer := c.offer()
		offers[offer.Hostname] = offer
	}
	c.launch(offers["one"], command("task", "sleep 300"))
	c.status("task", v1.TASK_RUNNING)
	refused(t, cluster.StartMaintenance(t.Context(), 0), `Machine '{"hostname":"one","ip":"127.0.0.1"}' is not part of a maintenance schedule`)

	begin := time.Now().Add(time.Hour).Round(0)
	if err := cluster.PlanMaintenance(t.Context(), begin, time.Minute, 0); err != nil {
		t.Fatal(err)
	}
	first := c.event(scheduler.Event_INVERSE_OFFERS).InverseOffers.InverseOffers[0]
	if *first.AgentID != offers["one"].AgentID || first.Unavailability.Start.Nanoseconds != begin.UnixNano() {
		t.Errorf("got %v", first)
	}
	// A later window replaces it.
	if err := cluster.PlanMaintenance(t.Context(), begin.Add(time.Hour), 0, 0); err != nil {
		t.Fatal(err)
	}
	if got := c.event(scheduler.Event_RESCIND_INVERSE_OFFER).RescindInverseOffer.InverseOfferID; got != first.OfferID {
		t.Errorf("rescinded %v, want %v", got, first.OfferID)
	}
	second := c.event(scheduler.Event_INVERSE_OFFERS).InverseOffers.InverseOffers[0]
	if second.Unavailability.Duration != nil || second.Unavailability.Start.Nanoseconds != begin.Add(time.Hour).UnixNano() {
		t.Errorf("got %v", second.Unavailability)
	}
	c.must(&scheduler.Call{Type: scheduler.Call_ACCEPT_INVERSE_OFFERS, AcceptInverseOffers: &scheduler.Call_AcceptInverseOffers{
		InverseOfferIDs: []v1.OfferID{second.OfferID},
	}})
	if got := operatorCall(t, cluster.URL(), `{"type":"GET_MAINTENANCE_STATUS"}`); !strings.Contains(got, `"statuses":[{"status":"ACCEPT"`) {
		t.Errorf("got %s", got)
	}
	refused(t, cluster.Drain(t.Context(), 0, 0, false), "is part of a maintenance schedule under Machine")

	if err := cluster.StartMaintenance(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := c.status("task", v1.TASK_GONE); !strings.HasSuffix(got.GetMessage(), "removed: Operator initiated 'Machine DOWN'") {
		t.Errorf("got %v", got)
	}
	c.next("the agent's end", isFailure)
	<-cluster.AgentEnded(0)
	if got := operatorCall(t, cluster.URL(), `{"type":"GET_MAINTENANCE_STATUS"}`); !strings.Contains(got, `"down_machines":[{"hostname":"one"`) {
		t.Errorf("got %s", got)
	}
	refused(t, cluster.PlanMaintenance(t.Context(), begin, 0), "is deactivated and cannot be removed from the schedule")
	if err := cluster.StartAgent(0); err != nil {
		t.Fatal(err)
	}
	<-cluster.AgentEnded(0) // it is not let in
	if err := cluster.StopMaintenance(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := cluster.StartAgent(0); err != nil {
		t.Fatal(err)
	}
	for offer := c.offer(); offer.Hostname != "one" || offer.AgentID == offers["one"].AgentID; offer = c.offer() {
	}
}

func operatorCall(t *testing.T, base, body string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, base+"/api/v1", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	status, text := do(t, request)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", body, status, text)
	}
	return text
}

func reserved(name string, amount float64, volume string) v1.Resource {
	r, role, principal := scalar(name, amount), "data", "ops"
	r.Reservations = []v1.Resource_ReservationInfo{{Type: v1.Resource_ReservationInfo_DYNAMIC.Enum(), Role: &role, Principal: &principal}}
	if volume != "" {
		r.Disk = &v1.Resource_DiskInfo{
			Persistence: &v1.Resource_DiskInfo_Persistence{ID: volume},
			Volume:      &v1.Volume{ContainerPath: "data/state", Mode: v1.RW.Enum()},
		}
	}
	return r
}

// TestVolumesOutliveTheirTasks reserves and makes a volume as an operator, for one of two
// roles, writes into it with one task and reads with another.
func TestVolumesOutliveTheirTasks(t *testing.T) {
	cluster := start(t)
	info := frameworkInfo()
	info.Roles = []string{"data", "other"}
	info.Capabilities = append(info.Capabilities, v1.FrameworkInfo_Capability{Type: v1.FrameworkInfo_Capability_RESERVATION_REFINEMENT})
	c := subscribe(t, cluster.URL(), info)
	agentID := c.offer().AgentID // the offer is rescinded for the operator
	change := func(call *api.Call) error { return cluster.Operate(t.Context(), call) }
	reserve := &api.Call{Type: api.Call_RESERVE_RESOURCES, ReserveResources: &api.Call_ReserveResources{
		AgentID: agentID, Resources: []v1.Resource{reserved("cpus", 1, ""), reserved("mem", 128, ""), reserved("disk", 100, "")}}}
	create := &api.Call{Type: api.Call_CREATE_VOLUMES, CreateVolumes: &api.Call_CreateVolumes{
		AgentID: agentID, Volumes: []v1.Resource{reserved("disk", 50, "v")}}}
	destroy := &api.Call{Type: api.Call_DESTROY_VOLUMES, DestroyVolumes: &api.Call_DestroyVolumes{
		AgentID: agentID, Volumes: []v1.Resource{reserved("disk", 50, "v")}}}
	unreserve := &api.Call{Type: api.Call_UNRESERVE_RESOURCES, UnreserveResources: &api.Call_UnreserveResources{
		AgentID: agentID, Resources: reserve.ReserveResources.Resources}}
	refused(t, change(create), "409 Conflict")
	if err := change(reserve); err != nil {
		t.Fatal(err)
	}
	if err := change(create); err != nil {
		t.Fatal(err)
	}
	refused(t, change(create), "Persistence ID 'v' already exists on the agent")

	run := func(id, text string) {
		for {
			event := c.event(scheduler.Event_OFFERS)
			for _, offer := range event.Offers.Offers {
				mine := offer.AllocationInfo.GetRole() == "data"
				for _, r := range offer.Resources {
					if r.IsPersistentVolume() != (mine && r.IsPersistentVolume()) {
						t.Fatalf("the volume is offered to %s", offer.AllocationInfo.GetRole())
					}
					if r.IsPersistentVolume() {
						task := command(id, text)
						task.Resources = []v1.Resource{reserved("cpus", 0.5, ""), reserved("mem", 64, ""), reserved("disk", 50, "v")}
						c.launch(offer, task)
						return
					}
				}
				c.must(&scheduler.Call{Type: scheduler.Call_DECLINE, Decline: &scheduler.Call_Decline{
					OfferIDs: []v1.OfferID{offer.ID}, Filters: &v1.Filters{RefuseSeconds: new(float64)}}})
			}
		}
	}
	run("writes", "echo kept > data/state/file")
	c.status("writes", v1.TASK_FINISHED)
	run("reads", "grep kept data/state/file")
	c.status("reads", v1.TASK_FINISHED)

	// The agent knows what it has when it comes back.
	kept := filepath.Join(cluster.Agents[0].WorkDir(), "volumes", "roles", "data", "v", "file")
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
	eventually(t, "the volume is free", func() bool { return change(destroy) == nil })
	eventually(t, "the volume is removed", func() bool { _, err := os.Stat(kept); return os.IsNotExist(err) })
	if err := change(unreserve); err != nil {
		t.Fatal(err)
	}
	if _, state := get(t, cluster.URL()+"/state"); !strings.Contains(state, `"reserved_resources":{}`) {
		t.Errorf("got %s", state)
	}
}

func TestOperatorTearsDown(t *testing.T) {
	cluster := start(t)
	c := subscribe(t, cluster.URL(), frameworkInfo())
	c.launch(c.offer(), command("one", "sleep 300"))
	c.status("one", v1.TASK_RUNNING)
	response, err := http.PostForm(cluster.URL()+"/master/teardown", url.Values{"frameworkId": {c.info.ID.Value}})
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close() //nolint:errcheck // nothing is in it
	if response.StatusCode != http.StatusOK {
		t.Errorf("teardown: %s", response.Status)
	}
	if _, err := c.take(func(*scheduler.Event) bool { return false }); err != errEnded {
		t.Errorf("the stream: %v", err)
	}
	refused(t, cluster.Operate(t.Context(), &api.Call{Type: api.Call_TEARDOWN, Teardown: &api.Call_Teardown{FrameworkID: *c.info.ID}}),
		"No framework found with specified ID")
	again := connect(t, cluster.URL(), c.info)
	if got := again.event(scheduler.Event_ERROR).Error.Message; got != "Framework has been removed" {
		t.Errorf("got %q", got)
	}
}

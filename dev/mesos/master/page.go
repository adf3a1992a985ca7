package master

import (
	_ "embed"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
	"github.com/tidemill/tidemill/dev/mesos/internal/view"
)

//go:embed page.html
var pageText string

var page = view.Page("master", pageText)

// pageData is what the page shows, ready to be written.
type pageData struct {
	Name, Version, Since           string
	Connected, Unreachable, Offers int
	CompletedFrameworks            int
	Used, Total                    amounts
	Active, Lost, Completed        []pageTask
	Frameworks                     []pageFramework
	Agents                         []pageAgent
}

type amounts struct{ CPUs, Mem, Disk string }

type pageTask struct {
	Framework, ID, Name, State, Started, Changed, Host, Sandbox string
	Labels                                                      []string
	last                                                        float64
}

type pageFramework struct {
	ID, Name, User, Roles, URL, Registered string
	Connected                              bool
	Tasks                                  int
	Used                                   amounts
}

type pageAgent struct {
	ID, Host, State, URL, Registered string
	Attributes                       []string
	Used, Total                      amounts
}

// shownCompleted is how many completed tasks the page shows, the latest first.
const shownCompleted = 100

// servePage is the page that people look at.
func (m *Master) servePage(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	data := m.pageData()
	m.mu.Unlock()
	view.WritePage(w, page, data)
}

func (m *Master) pageData() pageData {
	data := pageData{
		Name: m.listener.Addr().String(), Version: Version, Since: clock(seconds(m.started)),
		Connected: m.connectedAgents(), Unreachable: len(m.unreachable), Offers: len(m.offers),
		CompletedFrameworks: len(m.completed),
	}
	var used, total v1.Resources
	for _, a := range m.sortedAgents() {
		on := m.usedOn(a)
		used.Add(on...)
		total.Add(a.total...)
		data.Agents = append(data.Agents, a.page(m.pageState(a), on))
	}
	for _, info := range m.recovered {
		data.Agents = append(data.Agents, (&agent{id: info.GetID().GetValue(), info: info, total: info.Resources}).page("expected back", nil))
	}
	for _, a := range m.unreachable {
		data.Agents = append(data.Agents, a.page("unreachable", nil))
	}
	data.Used, data.Total = amountsOf(used), amountsOf(total)
	for _, f := range m.sortedFrameworks() {
		data.Frameworks = append(data.Frameworks, m.pageFramework(f))
		for _, t := range sortedTasks(f.tasks) {
			data.Active = append(data.Active, m.pageTask(f, t))
		}
		for _, t := range sortedTasks(f.unreachable) {
			data.Lost = append(data.Lost, m.pageTask(f, t))
		}
	}
	for _, f := range slices.Concat(m.sortedFrameworks(), m.completed) {
		for _, t := range f.completed {
			data.Completed = append(data.Completed, m.pageTask(f, t))
		}
	}
	sort.SliceStable(data.Completed, func(i, j int) bool { return data.Completed[i].last > data.Completed[j].last })
	data.Completed = data.Completed[:min(len(data.Completed), shownCompleted)]
	return data
}

func amountsOf(rs []v1.Resource) amounts {
	number := func(name, unit string) string {
		return strconv.FormatFloat(resource.Amount(rs, name), 'f', -1, 64) + unit
	}
	return amounts{number(resource.CPUs, ""), number(resource.Mem, " MB"), number(resource.Disk, " MB")}
}

// clock shows a time in seconds since 1970; nothing for no time.
func clock(at float64) string {
	if at == 0 {
		return ""
	}
	return time.UnixMilli(int64(at * 1000)).UTC().Format("2006-01-02 15:04:05")
}

// pageState says how a registered agent is.
func (m *Master) pageState(a *agent) string {
	admitted := m.registry.Agents[a.id]
	switch {
	case a.stream == nil:
		return "disconnected"
	case admitted.Drained:
		return "drained"
	case admitted.Drain != nil:
		return "draining"
	case admitted.Deactivated:
		return "deactivated"
	}
	return "connected"
}

func (a *agent) page(state string, used v1.Resources) pageAgent {
	p := pageAgent{
		ID: a.id, Host: a.info.Hostname, State: state, URL: a.base(), Registered: clock(seconds(a.registered)),
		Used: amountsOf(used), Total: amountsOf(a.total),
	}
	for name, value := range view.Attributes(a.info.Attributes) {
		p.Attributes = append(p.Attributes, fmt.Sprintf("%s: %v", name, value))
	}
	sort.Strings(p.Attributes)
	return p
}

// base is the URL that an agent answers at.
func (a *agent) base() string {
	host, port := addressOf(a.pid)
	return fmt.Sprintf("%s://%s:%d", a.scheme(), host, port)
}

func (m *Master) pageFramework(f *framework) pageFramework {
	return pageFramework{
		ID: f.id, Name: f.info.Name, User: f.info.User, Roles: strings.Join(rolesOf(f.info), ", "),
		URL: f.info.GetWebUiURL(), Registered: clock(seconds(f.registered)), Connected: f.subscription != nil,
		Tasks: len(f.tasks), Used: amountsOf(m.usedBy(f)),
	}
}

func (m *Master) pageTask(f *framework, t *task) pageTask {
	p := pageTask{Framework: f.info.Name, ID: t.id(), Name: t.info.Name, State: t.state.String()}
	for _, label := range t.info.GetLabels().GetLabels() {
		p.Labels = append(p.Labels, label.Key+": "+label.GetValue())
	}
	container := ""
	if n := len(t.statuses); n > 0 {
		p.Started, p.last = clock(t.statuses[0].GetTimestamp()), t.statuses[n-1].GetTimestamp()
		p.Changed = clock(p.last)
		for i := range t.statuses {
			if id := t.statuses[i].GetContainerStatus().GetContainerID().GetValue(); id != "" {
				container = id
			}
		}
	}
	a := m.agents[t.agent]
	if a == nil {
		a = m.unreachable[t.agent]
	}
	if a != nil {
		p.Host = a.info.Hostname
		p.Sandbox = a.base() + "/sandbox?" + url.Values{
			"framework": {f.id}, "executor": {t.executorName()}, "container": {container},
		}.Encode()
	}
	return p
}

// executorName is the executor's ID on the agent, which names made-up ones like their
// tasks.
func (t *task) executorName() string {
	if id := t.executorID(); id != nil {
		return id.Value
	}
	return t.id()
}

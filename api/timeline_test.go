package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

// draws is a timeline in a line for each row: state, first attempt, and from when to when, in seconds.
func draws(t *timeline, resolution int) string {
	var out strings.Builder
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	second := func(t time.Time) string { return fmt.Sprint(t.Sub(begin).Seconds()) }
	for _, lane := range t.draw("r", resolution).Agents {
		for _, row := range lane.Rows {
			out.WriteString(lane.Host + ":")
			for _, bar := range row {
				to := "…"
				if bar.To != nil {
					to = second(*bar.To)
				}
				fmt.Fprintf(&out, " %s.%d.%d %s %s-%s", bar.Stage, bar.Index, bar.Attempt, bar.State, second(bar.From), to)
				if bar.Attempts > 0 {
					fmt.Fprintf(&out, " ×%d", bar.Attempts)
				}
				out.WriteString(";")
			}
			out.WriteByte('\n')
		}
	}
	return out.String()
}

// timed is a task with one attempt for each "agent state from to"; to 0: it goes on.
func timed(index int, attempts ...string) *scheduler.TaskView {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	task := &proto.Task{Stage: "map", Index: uint32(index)}
	for i, text := range attempts {
		var agent string
		var state proto.TaskState
		var from, to float64
		if _, err := fmt.Sscan(text, &agent, &state, &from, &to); err != nil {
			panic(err)
		}
		a := proto.Attempt{Number: uint32(i + 1), AgentID: agent, Host: agent, State: state, Launched: begin.Add(time.Duration(from * 1e9))}
		if to > 0 {
			ended := begin.Add(time.Duration(to * 1e9))
			a.Ended = &ended
		}
		task.Attempts = append(task.Attempts, a)
	}
	return &scheduler.TaskView{Task: task}
}

func TestTimeline(t *testing.T) {
	line := timeline{now: time.Date(2026, 1, 1, 0, 1, 40, 0, time.UTC), agents: map[string]*timedAgent{}}
	const running, finished, failed = "3", "4", "5"
	for _, task := range []*scheduler.TaskView{
		timed(0, "a "+finished+" 0 50"),
		timed(1, "a "+finished+" 50 50.4"),
		timed(2, "a "+finished+" 50.5 51"), // both short: one bar
		timed(3, "a "+failed+" 51 51.3", "b "+running+" 60 0"),
		timed(4, "a "+finished+" 52 52.2"),
		timed(5, "a "+finished+" 10 90"), // beside the first
		nil,
	} {
		line.add(task)
	}
	want := `a: map.0.1 finished 0-50; map.1.1 finished 50-51 ×2; map.3.1 failed 51-51.3; map.4.1 finished 52-52.2;
a: map.5.1 finished 10-90;
b: map.3.2 running 60-…;
`
	if got := draws(&line, 100); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// However many attempts there are, few bars are drawn.
func TestTimelineThinsOut(t *testing.T) {
	line := timeline{now: time.Date(2026, 1, 1, 6, 0, 0, 0, time.UTC), agents: map[string]*timedAgent{}}
	for i := range mostTimed + 10 {
		from := float64(i/10) * 2
		line.add(timed(i, fmt.Sprintf("agent-%d 4 %g %g", i%10, from, from+1.9)))
	}
	got := line.draw("r", 500)
	bars, attempts := 0, 0
	for _, lane := range got.Agents {
		for _, row := range lane.Rows {
			for _, bar := range row {
				bars++
				attempts += max(1, bar.Attempts)
			}
		}
	}
	if bars > mostBars || attempts != mostTimed || got.Left != 10 || got.Attempts != mostTimed+10 {
		t.Errorf("%d bars of %d attempts, %d left of %d", bars, attempts, got.Left, got.Attempts)
	}
}

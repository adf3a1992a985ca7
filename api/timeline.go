package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

const (
	mostTimed = 20_000 // attempts that a timeline is made of; the rest is counted
	mostBars  = 1500   // that it draws, if joining longer and longer neighbours makes so few of them
)

type timelineInput struct {
	ID   string `path:"id" maxLength:"250" doc:"The run"`
	Most int    `query:"resolution" minimum:"10" maximum:"5000" default:"500" doc:"Bars that are shorter than this part of the whole time may be joined with their neighbours"`
}

type timelineOutput struct{ Body wire.Timeline }

func (h *Handler) timelineRoute(described huma.API) {
	op := operation("run-timeline", http.MethodGet, "/v1/runs/{id}/timeline", "runs", "Show when a run's tasks ran, by agent", http.StatusNotFound)
	huma.Register(described, op, h.timeline)
}

func (h *Handler) timeline(ctx context.Context, in *timelineInput) (*timelineOutput, error) {
	run, err := h.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	t := timeline{now: h.cfg.Scheduler.View().At, agents: map[string]*timedAgent{}}
	if run.live != nil {
		for _, stage := range run.live.Stages {
			for _, task := range stage.Tasks {
				t.add(task)
			}
		}
	} else {
		ctx, cancel := context.WithTimeout(ctx, archiveTimeout)
		defer cancel()
		for task, err := range h.cfg.Archive.Tasks(ctx, run.archived, 0) {
			if err != nil {
				return nil, h.unreadable(ctx, fmt.Sprintf("the tasks of run %q cannot be shown", in.ID), err)
			}
			t.add(task)
		}
	}
	return &timelineOutput{t.draw(in.ID, in.Most)}, nil
}

// timeline gathers attempts.
type timeline struct {
	now      time.Time
	from, to time.Time
	agents   map[string]*timedAgent
	attempts int
}

type timedAgent struct {
	host string
	bars []wire.Bar
}

// add takes the attempts of a task; nil was never launched.
func (t *timeline) add(task *scheduler.TaskView) {
	if task == nil {
		return
	}
	for i := range task.Task.Attempts {
		a := &task.Task.Attempts[i]
		if t.attempts++; t.attempts > mostTimed {
			continue
		}
		lane := t.agents[a.AgentID]
		if lane == nil {
			lane = &timedAgent{host: a.Host}
			t.agents[a.AgentID] = lane
		}
		lane.bars = append(lane.bars, t.bar(task.Task, a))
	}
}

func (t *timeline) bar(task *proto.Task, a *proto.Attempt) wire.Bar {
	bar := wire.Bar{
		Stage: task.Stage, State: jobs.TaskStateName(a.State), From: shown(a.Launched), To: utc(a.Ended), Task: task.ID, Index: task.Index,
		Attempt: a.Number, Second: a.Second != "", GivenUp: a.GivenUp, Message: a.Second,
	}
	if a.Failure != nil {
		bar.Message = a.Failure.Message
	}
	end := t.now
	if a.Ended != nil {
		end = *a.Ended
	}
	if t.from.IsZero() || a.Launched.Before(t.from) {
		t.from = a.Launched
	}
	if end.After(t.to) {
		t.to = end
	}
	return bar
}

// draw puts the bars of each agent into rows, and joins those that are too short to be told apart.
func (t *timeline) draw(run string, resolution int) wire.Timeline {
	out := wire.Timeline{Run: run, From: shown(t.from), To: shown(t.to), Attempts: t.attempts, Left: max(0, t.attempts-mostTimed), Agents: []wire.Lane{}}
	span := t.to.Sub(t.from)
	for short := max(span/time.Duration(resolution), time.Millisecond); ; short *= 2 {
		out.Agents = out.Agents[:0]
		bars := 0
		for id, agent := range t.agents {
			lane := wire.Lane{Agent: id, Host: agent.host, Rows: rows(agent.bars, short, shown(t.to))}
			for _, row := range lane.Rows {
				bars += len(row)
			}
			out.Agents = append(out.Agents, lane)
		}
		if bars <= mostBars || short > span {
			break
		}
	}
	slices.SortFunc(out.Agents, func(a, b wire.Lane) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Agent, b.Agent)) })
	return out
}

// rows gives each bar the first row that is free when it begins. Bars that go on end at now.
func rows(bars []wire.Bar, short time.Duration, now time.Time) [][]wire.Bar {
	slices.SortStableFunc(bars, func(a, b wire.Bar) int { return a.From.Compare(b.From) })
	var out [][]wire.Bar
	for _, bar := range bars {
		at := slices.IndexFunc(out, func(row []wire.Bar) bool { return !end(&row[len(row)-1], now).After(bar.From) })
		switch {
		case at < 0:
			out = append(out, []wire.Bar{bar})
		case !join(&out[at][len(out[at])-1], &bar, short):
			out[at] = append(out[at], bar)
		}
	}
	return out
}

func end(bar *wire.Bar, now time.Time) time.Time {
	if bar.To == nil {
		return now
	}
	return *bar.To
}

// join makes a bar longer by the next one of its row if both are alike and short, and says whether it did.
func join(bar, next *wire.Bar, short time.Duration) bool {
	alike := bar.Stage == next.Stage && bar.State == next.State && bar.Second == next.Second && bar.GivenUp == next.GivenUp && bar.Message == next.Message
	if !alike || bar.To == nil || next.To == nil || next.From.Sub(*bar.To) > short || next.To.Sub(next.From) > short || bar.Attempts == 0 && bar.To.Sub(bar.From) > short {
		return false
	}
	bar.To, bar.Attempts = next.To, max(bar.Attempts, 1)+1
	return true
}

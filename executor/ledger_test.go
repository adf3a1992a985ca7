package executor

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"
	"pgregory.net/rapid"
)

// ledgerModel is the ledger as a list of everything that was ever said.
type ledgerModel struct {
	ledger *ledger
	now    time.Time
	said   []saying
	tasks  map[string]string // "launched", "ended", "forbidden"
	order  []string          // of launches
}

type saying struct {
	id, uuid     string
	acknowledged bool
	sent, held   time.Time
}

func (m *ledgerModel) someTask(t *rapid.T) string {
	return fmt.Sprintf("t%d", rapid.IntRange(0, 4).Draw(t, "task"))
}

func (m *ledgerModel) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"launch": func(t *rapid.T) {
			id := m.someTask(t)
			got := m.ledger.launch(mesos.TaskInfo{TaskID: mesos.TaskID{Value: id}})
			if got != (m.tasks[id] == "") {
				t.Fatalf("launch %s: got %v, it is %q", id, got, m.tasks[id])
			}
			if got {
				m.tasks[id] = "launched"
				m.order = append(m.order, id)
			}
		},
		"forbid": func(t *rapid.T) {
			if id := m.someTask(t); m.tasks[id] == "" {
				m.ledger.forbid(id)
				m.tasks[id] = "forbidden"
			}
		},
		"update": func(t *rapid.T) {
			id := m.someTask(t)
			state := rapid.SampledFrom([]mesos.TaskState{
				mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_KILLING, mesos.TASK_FINISHED, mesos.TASK_FAILED, mesos.TASK_KILLED,
			}).Draw(t, "state")
			uuid := binary.BigEndian.AppendUint64(nil, uint64(len(m.said)))
			got := m.ledger.add(mesos.TaskStatus{TaskID: mesos.TaskID{Value: id}, State: &state, UUID: uuid})
			if want := m.tasks[id] != "" && m.tasks[id] != "ended"; got != want {
				t.Fatalf("update %s: got %v, it is %q", id, got, m.tasks[id])
			}
			if got {
				m.said = append(m.said, saying{id: id, uuid: string(uuid)})
				if terminal(state) {
					m.tasks[id] = "ended"
				}
			}
		},
		"acknowledge": func(t *rapid.T) {
			if len(m.said) == 0 {
				return
			}
			s := &m.said[rapid.IntRange(0, len(m.said)-1).Draw(t, "update")]
			if got := m.ledger.acknowledge(s.id, []byte(s.uuid)); got == s.acknowledged {
				t.Fatalf("acknowledge: got %v, it was acknowledged before: %v", got, s.acknowledged)
			}
			s.acknowledged = true
		},
		"acknowledge another task's": func(t *rapid.T) {
			if len(m.said) > 0 && m.ledger.acknowledge("other", []byte(m.said[0].uuid)) {
				t.Fatal("took it")
			}
		},
		"send": func(t *rapid.T) {
			next := m.ledger.next(m.now, resendAfter)
			held := func(id string, until int) bool {
				return slices.ContainsFunc(m.said[:until+1], func(s saying) bool {
					return s.id == id && !s.acknowledged && s.held.After(m.now)
				})
			}
			want := -1
			for i, s := range m.said {
				if want < 0 && !s.acknowledged && (s.sent.IsZero() || m.now.Sub(s.sent) >= resendAfter) && !held(s.id, i) {
					want = i
				}
			}
			if next == nil {
				if want >= 0 {
					t.Fatalf("nothing to send, want update %d", want)
				}
				return
			}
			if want < 0 || m.said[want].uuid != string(next.UUID) {
				t.Fatalf("got update %x to send, want number %d", next.UUID, want)
			}
			if rapid.Bool().Draw(t, "fails") {
				until := m.now.Add(2 * time.Second)
				m.ledger.failed(next.UUID, until)
				m.said[want].sent, m.said[want].held = time.Time{}, until
			} else {
				m.ledger.sent(next.UUID, m.now)
				m.said[want].sent = m.now
			}
		},
		"subscribe": func(*rapid.T) {
			_, updates := m.ledger.unacknowledged()
			m.ledger.subscribed(updates, m.now)
			for i := range m.said {
				if !m.said[i].acknowledged {
					m.said[i].sent, m.said[i].held = m.now, time.Time{}
				}
			}
		},
		"wait": func(t *rapid.T) {
			m.now = m.now.Add(time.Duration(rapid.IntRange(1, 12).Draw(t, "seconds")) * time.Second)
		},
		"": m.check,
	}
}

// check compares what a SUBSCRIBE would say: all that is not acknowledged, in order, and nothing else.
func (m *ledgerModel) check(t *rapid.T) {
	tasks, updates := m.ledger.unacknowledged()
	var got, want []string
	for _, u := range updates {
		got = append(got, string(u.Status.UUID))
	}
	touched := map[string]bool{}
	for _, s := range m.said {
		if s.acknowledged {
			touched[s.id] = true
		} else {
			want = append(want, s.uuid)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got updates %x, want %x", got, want)
	}
	if m.ledger.settled() != (len(want) == 0) {
		t.Fatalf("settled: got %v with %d updates left", m.ledger.settled(), len(want))
	}
	got, want = nil, nil
	for _, task := range tasks {
		got = append(got, task.TaskID.Value)
	}
	for _, id := range m.order {
		if !touched[id] {
			want = append(want, id)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got tasks %v, want %v", got, want)
	}
}

// What is not acknowledged is always said again, nothing is lost, nothing comes after a terminal update.
func TestLedger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &ledgerModel{ledger: newLedger(), now: time.Unix(1e9, 0), tasks: map[string]string{}}
		t.Repeat(m.actions())
		// An agent that acknowledges what it is sent gets everything, once each, in order.
		m.now = m.now.Add(resendAfter)
		var got []mesosexec.Call_Update
		_, want := m.ledger.unacknowledged()
		for next := m.ledger.next(m.now, resendAfter); next != nil; next = m.ledger.next(m.now, resendAfter) {
			got = append(got, mesosexec.Call_Update{Status: *next})
			m.ledger.sent(next.UUID, m.now)
			if !m.ledger.acknowledge(next.TaskID.Value, next.UUID) {
				t.Fatal("the acknowledgement was not taken")
			}
		}
		if !slices.EqualFunc(got, want, func(a, b mesosexec.Call_Update) bool { return string(a.Status.UUID) == string(b.Status.UUID) }) {
			t.Fatalf("got %d updates, want %d", len(got), len(want))
		}
		if !m.ledger.settled() {
			t.Fatal("not settled")
		}
	})
}

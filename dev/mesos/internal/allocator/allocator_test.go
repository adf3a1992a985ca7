package allocator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func res(text string) v1.Resources {
	parsed, err := resource.Parse(text)
	if err != nil {
		panic(err)
	}
	return parsed
}

// lines shows grants as "agent: framework/role resources", sorted.
func lines(grants []Grant) []string {
	list := []string{}
	for _, g := range grants {
		list = append(list, fmt.Sprintf("%s: %s/%s %s", g.Agent, g.Framework, g.Role, resource.Format(g.Resources.Clone().Unallocate())))
	}
	slices.Sort(list)
	return list
}

func expect(t *testing.T, a *Allocator, at time.Duration, want ...string) []Grant {
	t.Helper()
	grants := a.Allocate(start.Add(at))
	if got := lines(grants); !slices.Equal(got, want) {
		t.Fatalf("at %v: got %q, want %q", at, got, want)
	}
	return grants
}

func (a *Allocator) decline(at, refuse time.Duration, grants []Grant) {
	for _, g := range grants {
		a.Release(g.Holder, g.Agent, g.Resources)
		a.Refuse(g.Holder, g.Agent, g.Resources, start.Add(at), refuse)
	}
}

func TestOfferGoesOnce(t *testing.T) {
	a := New(time.Second, nil)
	a.AddAgent("s0", res("cpus:4;mem:100"))
	expect(t, a, 0)
	a.SetFramework("f", []string{"data"}, true)
	expect(t, a, 0, "s0: f/data cpus:4; mem:100")
	expect(t, a, time.Second)
}

func TestRefusalEnds(t *testing.T) {
	a := New(time.Second, nil)
	a.AddAgent("s0", res("cpus:4;mem:100"))
	a.SetFramework("f", []string{"data"}, true)
	a.decline(0, 5*time.Second, expect(t, a, 0, "s0: f/data cpus:4; mem:100"))
	expect(t, a, 4999*time.Millisecond)
	grants := expect(t, a, 5*time.Second, "s0: f/data cpus:4; mem:100")

	// A shorter one lasts for one interval, and none at all for nothing.
	a.decline(5*time.Second, time.Millisecond, grants)
	expect(t, a, 5900*time.Millisecond)
	grants = expect(t, a, 6*time.Second, "s0: f/data cpus:4; mem:100")
	a.decline(6*time.Second, 0, grants)
	expect(t, a, 6*time.Second, "s0: f/data cpus:4; mem:100")
}

func TestRefusalCoversPartsOnly(t *testing.T) {
	a := New(time.Second, nil)
	a.AddAgent("s0", res("cpus:4;mem:100"))
	a.SetFramework("f", []string{"data"}, true)
	h := Holder{"f", "data"}
	grants := expect(t, a, 0, "s0: f/data cpus:4; mem:100")
	// It uses one CPU and refuses the rest.
	used, left := res("cpus:1;mem:40"), res("cpus:3;mem:60")
	a.Release(h, "s0", left)
	a.Refuse(h, "s0", left, start, time.Hour)
	expect(t, a, time.Second)
	// What the task gives back makes more than was refused.
	a.Release(h, "s0", used)
	expect(t, a, 2*time.Second, "s0: f/data cpus:4; mem:100")
	if len(grants) != 1 {
		t.Fatal("one offer")
	}
}

func TestReviveClearsFiltersOfItsRoles(t *testing.T) {
	a := New(time.Second, nil)
	a.AddAgent("s0", res("cpus:4"))
	a.AddAgent("s1", res("cpus:4"))
	a.SetFramework("f", []string{"x", "y"}, true)
	for range 2 { // each role refuses both agents
		a.decline(0, time.Hour, a.Allocate(start))
	}
	a.decline(0, time.Hour, a.Allocate(start))
	a.decline(0, time.Hour, a.Allocate(start))
	expect(t, a, time.Second)
	a.Revive("f", []string{"y"})
	expect(t, a, time.Second, "s0: f/y cpus:4", "s1: f/y cpus:4")
}

func TestSuppressAndRevive(t *testing.T) {
	a := New(time.Second, nil)
	a.AddAgent("s0", res("cpus:4"))
	a.SetFramework("f", []string{"x", "y"}, true)
	a.Suppress("f", []string{"x"})
	a.decline(0, 0, expect(t, a, 0, "s0: f/y cpus:4"))
	a.Suppress("f", nil)
	expect(t, a, time.Hour)
	a.SetSuppressed("f", []string{"y"})
	a.decline(time.Hour, 0, expect(t, a, time.Hour, "s0: f/x cpus:4"))
	a.Suppress("f", nil)
	a.Revive("f", nil)
	if got := a.Allocate(start.Add(time.Hour)); len(got) != 1 {
		t.Fatalf("after REVIVE: got %v", lines(got))
	}
}

func TestShareDecides(t *testing.T) {
	a := New(time.Second, nil)
	a.AddAgent("s0", res("cpus:10;mem:1000"))
	a.SetFramework("a", []string{"r"}, true)
	a.SetFramework("b", []string{"r"}, true)
	a.Hold(Holder{"a", "r"}, "s0", res("cpus:5;mem:10"))
	a.Hold(Holder{"b", "r"}, "s0", res("cpus:1;mem:400"))
	expect(t, a, 0, "s0: b/r cpus:4; mem:590")
}

func TestRoleSharesBeforeFrameworks(t *testing.T) {
	a := New(time.Second, nil)
	a.AddAgent("s0", res("cpus:10;mem:1000"))
	a.SetFramework("alone", []string{"small"}, true)
	a.SetFramework("one", []string{"big"}, true)
	a.SetFramework("two", []string{"big"}, true)
	a.Hold(Holder{"alone", "small"}, "s0", res("cpus:3"))
	a.Hold(Holder{"one", "big"}, "s0", res("cpus:2"))
	a.Hold(Holder{"two", "big"}, "s0", res("cpus:2")) // each has less than alone, but their role has more
	expect(t, a, 0, "s0: alone/small cpus:3; mem:1000")
}

// reservedFor gives resources as they are when they are reserved for a role.
func reservedFor(role string, rs v1.Resources) v1.Resources {
	return rs.PushReservation(v1.Resource_ReservationInfo{Type: v1.Resource_ReservationInfo_DYNAMIC.Enum(), Role: &role})
}

func TestReservedGoesToItsRoleAndThoseBelow(t *testing.T) {
	const mark = "(reservations: [(DYNAMIC,data,)])"
	a := New(time.Second, nil)
	a.AddAgent("s0", res("cpus:4;mem:400"))
	a.ConvertFree("s0", res("cpus:1;mem:100"), reservedFor("data", res("cpus:1;mem:100")))
	a.SetFramework("f", []string{"data/batch", "database", "other"}, true)
	a.Suppress("f", []string{"data/batch"})
	a.decline(0, 0, expect(t, a, 0, "s0: f/database cpus:3; mem:300"))
	a.Revive("f", nil)
	a.decline(0, 0, expect(t, a, 0, "s0: f/data/batch cpus"+mark+":1; mem"+mark+":100; cpus:3; mem:300"))
	// What is left for others is offered to others.
	a.SetFramework("g", []string{"data"}, false) // does not understand reservations
	a.Suppress("f", []string{"database", "other"})
	expect(t, a, 0, "s0: f/data/batch cpus"+mark+":1; mem"+mark+":100", "s0: g/data cpus:3; mem:300")
}

func TestConvertedIsWhatIsHeld(t *testing.T) {
	a := New(time.Second, nil)
	a.AddAgent("s0", res("cpus:4;mem:400"))
	a.SetFramework("f", []string{"data"}, true)
	h := Holder{"f", "data"}
	expect(t, a, 0, "s0: f/data cpus:4; mem:400")
	if a.IsFree("s0", res("cpus:1")) {
		t.Error("what is offered is free")
	}
	reserved := reservedFor("data", res("cpus:1"))
	a.ConvertHeld(h, "s0", res("cpus:1"), reserved)
	a.Release(h, "s0", append(res("cpus:3;mem:400"), reserved...))
	if len(a.held) != 0 {
		t.Errorf("still held: %v", a.held)
	}
	if !a.IsFree("s0", reserved) || a.IsFree("s0", res("cpus:4")) {
		t.Errorf("free is %s", resource.Format(a.agents["s0"].free))
	}
	a.ConvertFree("s0", reserved, res("cpus:1"))
	if !a.IsFree("s0", res("cpus:4;mem:400")) {
		t.Errorf("free is %s", resource.Format(a.agents["s0"].free))
	}
}

func TestTooLittleIsNotOffered(t *testing.T) {
	a := New(time.Second, nil)
	a.SetFramework("f", []string{"data"}, true)
	a.AddAgent("s0", res("cpus:0.001;mem:31;ports:[1-9]"))
	expect(t, a, 0)
	a.AddAgent("s1", res("cpus:0.01;ports:[1-9]"))
	expect(t, a, 0, "s1: f/data ports:[1-9]; cpus:0.01")
}

func TestInactiveGetNothing(t *testing.T) {
	a := New(time.Second, nil)
	a.AddAgent("s0", res("cpus:4"))
	a.SetFramework("f", []string{"data"}, true)
	a.SetAgentActive("s0", false)
	expect(t, a, 0)
	a.SetAgentActive("s0", true)
	a.decline(0, time.Hour, expect(t, a, 0, "s0: f/data cpus:4"))
	a.DeactivateFramework("f")
	expect(t, a, 0)
	a.ActivateFramework("f") // a new subscription has no filters
	expect(t, a, 0, "s0: f/data cpus:4")
}

func format(rs v1.Resources) string { return resource.Format(resource.InOfferOrder(rs.Clone())) }

// TestNothingIsLostOrGivenTwice does random things and looks after each of them
// whether what is free and what is held make the whole.
func TestNothingIsLostOrGivenTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := New(time.Second, func(n int, swap func(i, j int)) {
			for i := range n {
				swap(i, rapid.IntRange(0, n-1).Draw(t, "swap"))
			}
		})
		agents := map[string]v1.Resources{}
		for i := range rapid.IntRange(1, 3).Draw(t, "agents") {
			id := fmt.Sprintf("s%d", i)
			agents[id] = res(fmt.Sprintf("cpus:%d;mem:%d;ports:[100-%d]", 1+i, 64*(1+i), 110+i))
			a.AddAgent(id, agents[id])
		}
		frameworks := []string{"f", "g"}
		for _, id := range frameworks {
			a.SetFramework(id, []string{"x", "y"}, true)
		}
		var held []Grant
		now := start
		take := func() (Grant, bool) {
			if len(held) == 0 {
				return Grant{}, false
			}
			i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
			g := held[i]
			held = slices.Delete(held, i, i+1)
			return g, true
		}
		t.Repeat(map[string]func(*rapid.T){
			"allocate": func(*rapid.T) { held = append(held, a.Allocate(now)...) },
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * time.Millisecond)
			},
			"decline": func(t *rapid.T) {
				if g, ok := take(); ok {
					a.Release(g.Holder, g.Agent, g.Resources)
					a.Refuse(g.Holder, g.Agent, g.Resources, now, time.Duration(rapid.IntRange(0, 5).Draw(t, "s"))*time.Second)
				}
			},
			"use a part": func(*rapid.T) {
				if g, ok := take(); ok {
					part := res("cpus:0.5;mem:32")
					if !resource.Contains(g.Resources.Clone().Unallocate(), part) {
						held = append(held, g)
						return
					}
					left := g.Resources.Minus(part.Clone().Allocate(g.Role)...)
					a.Release(g.Holder, g.Agent, left)
					g.Resources = part.Allocate(g.Role)
					held = append(held, g)
				}
			},
			"reserve": func(*rapid.T) {
				part := res("cpus:0.25")
				for id := range agents {
					if a.IsFree(id, part) {
						a.ConvertFree(id, part, reservedFor("x", part))
						return
					}
				}
			},
			"reserve what is held": func(*rapid.T) {
				part := res("cpus:0.25")
				if g, ok := take(); ok {
					if plain := g.Resources.Clone().Unallocate(); resource.Contains(plain, part) {
						a.ConvertHeld(g.Holder, g.Agent, part, reservedFor("x", part))
						g.Resources = plain.Minus(part...).Plus(reservedFor("x", part)...).Allocate(g.Role)
					}
					held = append(held, g)
				}
			},
			"suppress": func(t *rapid.T) {
				a.Suppress(rapid.SampledFrom(frameworks).Draw(t, "f"), []string{rapid.SampledFrom([]string{"x", "y"}).Draw(t, "r")})
			},
			"revive": func(t *rapid.T) { a.Revive(rapid.SampledFrom(frameworks).Draw(t, "f"), nil) },
			"": func(t *rapid.T) {
				for id, total := range agents {
					var sum v1.Resources
					for _, g := range held {
						if g.Agent == id {
							sum.Add(g.Resources.Clone().Unallocate()...)
						}
					}
					sum.Add(a.agents[id].free...)
					if got, want := format(sum), format(a.agents[id].total); got != want {
						t.Fatalf("%s: free and held are %s, not %s", id, got, want)
					}
					if got, want := format(sum.ToUnreserved()), format(total); got != want {
						t.Fatalf("%s: free, held and reserved are %s, not %s", id, got, want)
					}
				}
			},
		})
	})
}

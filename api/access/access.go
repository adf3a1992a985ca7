package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/reread"
)

// ErrUnknown: no actor has that token. The sender needs another one.
var ErrUnknown = errors.New("the token is wrong")

// ExpiredError: the token was good until then. Its owner needs a new one.
type ExpiredError struct {
	Name string
	At   time.Time
}

// Error implements error.
func (e *ExpiredError) Error() string {
	return fmt.Sprintf("the token %q has expired at %s", e.Name, e.At.UTC().Format(time.RFC3339))
}

// Config says who may do what.
type Config struct {
	// Token is that of an admin called "token". Empty: there is none.
	Token storage.Secret
	// File holds tokens as [Parse] reads them. Empty: there is none.
	File string
	// Rate is how many submissions a second each actor may send, Burst how many at once after a pause. A rate of 0 is no
	// limit.
	Rate  float64
	Burst int
	Log   *slog.Logger // nil: slog.Default()
}

// Access knows the actors. Make one with [Open]. Its methods are safe for concurrent use.
type Access struct {
	cfg    Config
	single []holder // of Config.Token
	file   *reread.Value[[]holder]
	now    func() time.Time

	mu     sync.Mutex
	limits map[string]*rate.Limiter // by actor: at most one for each that there is
}

// holder is an actor and how his token is known.
type holder struct {
	actor   *Actor
	sum     [sha256.Size]byte
	expires time.Time // zero: never
}

// Open reads the file, if there is one: it must be good from the start. Later, a file that is not good changes nothing.
func Open(cfg Config) (*Access, error) {
	a := &Access{cfg: cfg, now: time.Now, limits: map[string]*rate.Limiter{}}
	if !cfg.Token.Empty() {
		a.single = []holder{{actor: &Actor{Name: "token", Roles: []Role{Admin}}, sum: sha256.Sum256([]byte(cfg.Token.Reveal()))}}
	}
	if cfg.File == "" {
		return a, nil
	}
	file, err := reread.Open([]string{cfg.File}, holders, cfg.Log)
	if err != nil {
		return nil, err
	}
	a.file = file
	return a, nil
}

// None needs no token and limits nobody.
func None() *Access { return &Access{now: time.Now} }

// holders reads the tokens file.
func holders(files []reread.File) ([]holder, error) {
	if err := files[0].Private(); err != nil {
		return nil, err
	}
	tokens, err := Parse(files[0].Data)
	if err != nil {
		return nil, fmt.Errorf("read tokens of %q: %w", files[0].Path, err)
	}
	all := make([]holder, len(tokens))
	for i, t := range tokens {
		all[i] = holder{&Actor{Name: t.Name, Roles: t.Roles, Jobs: t.Jobs, MesosRoles: t.MesosRoles}, t.sum(), t.Expires}
	}
	return all, nil
}

// Needed says whether a request needs a token at all.
func (a *Access) Needed() bool { return a.single != nil || a.file != nil }

// Err says why the tokens file as it is now cannot be used: what it held before still holds. Nil if it is in use.
func (a *Access) Err() error {
	if a.file == nil {
		return nil
	}
	return a.file.Err()
}

func (a *Access) listed() []holder {
	if a.file == nil {
		return nil
	}
	return a.file.Get()
}

// Identify gives the actor whose token that is: ErrUnknown or an *ExpiredError if there is none. While no token is
// needed it is "anonymous" with all roles. How long it takes says nothing about the tokens but their number.
func (a *Access) Identify(token string) (*Actor, error) {
	if !a.Needed() {
		return anonymous, nil
	}
	sum := sha256.Sum256([]byte(token))
	var found *holder
	for _, list := range [][]holder{a.single, a.listed()} {
		for i := range list {
			if subtle.ConstantTimeCompare(sum[:], list[i].sum[:]) == 1 {
				found = &list[i]
			}
		}
	}
	switch {
	case found == nil:
		return nil, ErrUnknown
	case !found.expires.IsZero() && !a.now().Before(found.expires):
		return nil, &ExpiredError{Name: found.actor.Name, At: found.expires}
	}
	return found.actor, nil
}

// Limit takes one submission of an actor from what he may send. If there is none left nothing is taken, and wait is how
// long until there is one again.
func (a *Access) Limit(actor *Actor) (wait time.Duration) {
	if a.cfg.Rate <= 0 {
		return 0
	}
	now := a.now()
	taken := a.limit(actor.Name).ReserveN(now, 1)
	if wait = taken.DelayFrom(now); wait > 0 {
		taken.CancelAt(now)
	}
	return wait
}

// limit finds an actor's limit. Those of actors that are no more are forgotten before new ones are made.
func (a *Access) limit(name string) *rate.Limiter {
	listed := a.listed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.limits[name]; l != nil {
		return l
	}
	if len(a.limits) > len(listed)+1 {
		known := map[string]bool{}
		for _, h := range listed {
			known[h.actor.Name] = true
		}
		for other := range a.limits {
			if !known[other] {
				delete(a.limits, other)
			}
		}
	}
	l := rate.NewLimiter(rate.Limit(a.cfg.Rate), max(1, a.cfg.Burst))
	a.limits[name] = l
	return l
}

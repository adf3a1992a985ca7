package scheduler

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/tidemill/tidemill/proto"
)

// simStore is the store of the simulation: whoever led last may write, and nobody else. It keeps what it holds decoded,
// too, for the checks.
type simStore struct {
	epoch     int // of the one who led last
	values    map[Key][]byte
	runs      map[string]*proto.Run
	tasks     map[string]*proto.Task
	executors map[string]*proto.Executor
	forgotten map[string]*proto.Run // runs that were removed, as they were last
	unfenced  bool                  // a mutant: everybody may write
}

var errSimFenced = errors.New("another instance leads")

func newSimStore() *simStore {
	return &simStore{
		values:    map[Key][]byte{},
		runs:      map[string]*proto.Run{},
		tasks:     map[string]*proto.Task{},
		executors: map[string]*proto.Executor{},
		forgotten: map[string]*proto.Run{},
	}
}

// lead takes the store over and returns what it holds, with the epoch under which the caller may write.
func (s *simStore) lead() (epoch int, all []Record) {
	s.epoch++
	return s.epoch, s.records()
}

func (s *simStore) records() []Record {
	all := make([]Record, 0, len(s.values))
	for _, key := range sortedRecordKeys(s.values) {
		all = append(all, Record{key, s.values[key]})
	}
	return all
}

func sortedRecordKeys(values map[Key][]byte) []Key {
	return slices.SortedFunc(maps.Keys(values), func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
}

// commit writes all changes or none.
func (s *simStore) commit(epoch int, changes []Change) error {
	if epoch != s.epoch && !s.unfenced {
		return errSimFenced
	}
	for _, change := range changes {
		s.apply(change)
	}
	return nil
}

func (s *simStore) apply(change Change) {
	key, value := change.Key, change.Value
	if value == nil {
		delete(s.values, key)
		switch key.Kind {
		case KindRun:
			if rec := s.runs[key.ID]; rec != nil {
				s.forgotten[key.ID] = rec
			}
			delete(s.runs, key.ID)
		case KindTask:
			delete(s.tasks, key.ID)
		case KindExecutor:
			delete(s.executors, key.ID)
		}
		return
	}
	s.values[key] = value
	switch key.Kind {
	case KindRun:
		s.runs[key.ID] = mustDecode(value, &proto.Run{})
	case KindTask:
		s.tasks[key.ID] = mustDecode(value, &proto.Task{})
	case KindExecutor:
		s.executors[key.ID] = mustDecode(value, &proto.Executor{})
	}
}

// attempt finds the record of an attempt by its task and number; nil if there is none.
func (s *simStore) attempt(task string, number uint32) *proto.Attempt {
	rec := s.tasks[task]
	if rec == nil || number == 0 || len(rec.Attempts) < int(number) {
		return nil
	}
	return &rec.Attempts[number-1]
}

package scheduler

import (
	"fmt"
	"slices"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// FormatVersion is that of the records which this package reads and writes.
//
//	1  a record for each task, also for those that were never launched; no format record
//	2  a plan for each stage, records for launched tasks only; idempotency keys of their own; roles
//	3  rollouts, tallies and uses of versions: kinds that a program of format 2 cannot read
//	4  tasks of which two attempts live, which a program of format 3 takes for a broken record
const FormatVersion = 4

const formatID = "format" // the only record of its kind

// Migrate returns the changes that bring the records of a store to [FormatVersion], none if they are. They must be
// committed together, before [New]. writtenBy is the version of the program, for people. A store of a newer format, and
// a record that cannot be understood, are errors; then nothing is to be changed.
func Migrate(records []Record, writtenBy string) ([]Change, error) {
	version := uint32(1)
	for i := range records {
		if records[i].Key.Kind != KindFormat {
			continue
		}
		var err error
		if version, err = formatOf(records[i].Value); err != nil {
			return nil, fmt.Errorf("migrate records: %w", err)
		}
	}
	if version == FormatVersion {
		return nil, nil
	}
	m := migration{runs: map[string]*proto.Run{}, tasks: map[string]map[uint32]*proto.Task{}}
	if version == 1 {
		if err := m.fromFirst(records); err != nil {
			return nil, err
		}
	}
	if version < 3 {
		if err := m.uses(records); err != nil {
			return nil, err
		}
	}
	m.put(KindFormat, formatID, &proto.Format{Version: FormatVersion, WrittenBy: writtenBy})
	return m.changes.take(), nil
}

// fromFirst brings records from format 1 to 2.
func (m *migration) fromFirst(records []Record) error {
	for i := range records {
		if err := m.read(&records[i]); err != nil {
			return fmt.Errorf("migrate %s %q: %w", records[i].Key.Kind, records[i].Key.ID, err)
		}
	}
	for _, id := range sortedKeys(m.runs) {
		if err := m.plan(m.runs[id]); err != nil {
			return fmt.Errorf("migrate run %q: %w", id, err)
		}
	}
	return nil
}

// uses counts what became of executor versions, as far as their runs are kept: before format 3 nobody did.
func (m *migration) uses(records []Record) error {
	uses := map[string]*proto.Use{}
	for i := range records {
		if key := records[i].Key; key.Kind == KindVersion {
			uses[key.ID] = &proto.Use{Version: key.ID}
		}
	}
	for i := range records {
		if records[i].Key.Kind != KindRun {
			continue
		}
		run := &proto.Run{}
		if err := proto.Decode(records[i].Value, run); err != nil {
			return fmt.Errorf("migrate run %q: %w", records[i].Key.ID, err)
		}
		if use := uses[run.ExecutorVersion]; use != nil {
			countRun(use, run)
		}
	}
	for _, version := range sortedKeys(uses) {
		if uses[version].Last != nil {
			m.put(KindUse, version, uses[version])
		}
	}
	return nil
}

// checkFormat refuses records that are not of this format.
func checkFormat(value []byte) error {
	version, err := formatOf(value)
	if err == nil && version != FormatVersion {
		err = fmt.Errorf("the records are of format %d and were not brought to format %d", version, FormatVersion)
	}
	return err
}

// formatOf is the version that a format record names. It refuses a store that this program cannot read.
func formatOf(value []byte) (uint32, error) {
	format := &proto.Format{}
	if err := proto.Decode(value, format); err != nil {
		return 0, err
	}
	if format.Version < 2 || format.Version > FormatVersion { // format 1 had no such record
		return 0, fmt.Errorf("they are of format %d, written by version %q, and this program reads formats 1 to %d: use the newer program, or import a backup",
			format.Version, format.WrittenBy, FormatVersion)
	}
	return format.Version, nil
}

// migration brings records to the present format.
type migration struct {
	changes
	runs  map[string]*proto.Run
	tasks map[string]map[uint32]*proto.Task // by plan ID and index
}

func (m *migration) put(kind RecordKind, id string, rec proto.Marshaler) {
	m.changes.put(Key{kind, id}, rec)
}

func (m *migration) read(r *Record) error {
	switch r.Key.Kind {
	case KindRun:
		rec := &proto.Run{}
		if err := proto.Decode(r.Value, rec); err != nil {
			return err
		}
		m.runs[rec.ID] = rec
	case KindTask:
		rec := &proto.Task{}
		if err := proto.Decode(r.Value, rec); err != nil {
			return err
		}
		at := planID(rec.Run, rec.Stage)
		if m.tasks[at] == nil {
			m.tasks[at] = map[uint32]*proto.Task{}
		}
		m.tasks[at][rec.Index] = rec
	}
	return nil
}

// plan makes plans out of a run's tasks, and a record out of its idempotency key.
func (m *migration) plan(run *proto.Run) error {
	for _, stage := range run.Stages {
		if stage.Name == jobs.StageClean {
			continue
		}
		tasks := m.tasks[planID(run.ID, stage.Name)]
		if stage.Tasks > mostTasks || len(tasks) != int(stage.Tasks) {
			return fmt.Errorf("stage %q has %d tasks of %d", stage.Name, len(tasks), stage.Tasks)
		}
		plan := &proto.Plan{Run: run.ID, Stage: stage.Name, Created: run.Created}
		for i := range stage.Tasks {
			task := tasks[i]
			if task == nil {
				return fmt.Errorf("stage %q has no task %d", stage.Name, i)
			}
			plan.Inputs = append(plan.Inputs, task.Input)
			plan.Created = task.Created
			m.task(task)
		}
		m.put(KindPlan, planID(run.ID, stage.Name), plan)
	}
	if run.IdempotencyKey != "" {
		m.put(KindKey, keyID(run.Job, run.IdempotencyKey), newKey(run))
	}
	return nil
}

// task removes the record of a task that was never launched, and the input from another's: both follow from the plan.
func (m *migration) task(rec *proto.Task) {
	if slices.Contains([]proto.TaskState{proto.TASK_PENDING, proto.TASK_KILLED}, rec.State) && len(rec.Attempts) == 0 {
		m.put(KindTask, rec.ID, nil)
		return
	}
	if len(rec.Input) > 0 {
		rec.Input = nil
		m.put(KindTask, rec.ID, rec)
	}
}

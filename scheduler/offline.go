package scheduler

import "time"

// Forget carries out [ForgetFramework] on the records of a store that nobody leads. The changes, which also bring the
// records to the present format, are to be stored with one commit. Errors are those of [Migrate], [New] and the command.
func Forget(cfg Config, records []Record, writtenBy string, now time.Time) (ForgottenFramework, []Change, error) {
	migrated, err := Migrate(records, writtenBy)
	if err != nil {
		return ForgottenFramework{}, nil, err
	}
	c, err := New(cfg, applied(records, migrated))
	if err != nil {
		return ForgottenFramework{}, nil, err
	}
	done := c.Step(Input{Now: now, Event: Command{Body: ForgetFramework{}}})
	for _, reply := range done.Replies {
		if reply.Err != nil {
			return ForgottenFramework{}, nil, reply.Err
		}
		if forgotten, ok := reply.Value.(ForgottenFramework); ok {
			return forgotten, append(migrated, done.Store...), nil
		}
	}
	return ForgottenFramework{}, nil, errorf(Internal, "forget framework: there was no answer")
}

// Package kinds registers the kinds of jobs. It imports every kind's package, so that nothing else has to:
// a new kind is one line in [All].
package kinds

import (
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/jobs/sql"
)

// All are the kinds that this build knows.
func All() jobs.Kinds {
	return jobs.Kinds{aggregate.Kind{}, sql.Kind{}}
}

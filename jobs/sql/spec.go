package sql

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// Section is the value of the spec's key "sql".
type Section struct {
	Tables    []Table          `json:"tables" required:"true" minitems:"1" maxitems:"100" doc:"What the statement may read."`
	Statement string           `json:"statement" required:"true" format:"sql" maxlen:"100000" doc:"One SELECT of the engine's SQL over these tables, without a semicolon at its end. Files, settings and other tables are out of its reach." example:"SELECT carrier, count(*) AS flights FROM flights GROUP BY carrier"`
	Output    aggregate.Output `json:"output" required:"true" doc:"Where results go."`
	WorkURI   string           `json:"work,omitempty" format:"prefix" doc:"A prefix for logs, reached by the output's connection. <output>/_work/ if missing." example:"s3://scratch/work/"`
}

// Table is a name for files, or for what another job has published. Either Input or Job is set.
type Table struct {
	Name  string          `json:"name" required:"true" minlen:"1" maxlen:"63" doc:"What the statement calls it." example:"flights"`
	Input aggregate.Input `json:"input,omitempty" doc:"The files, if it is files."`
	Job   string          `json:"job,omitempty" format:"name" doc:"The job whose result it is, if it is one." example:"flights-by-carrier"`
	Run   string          `json:"run,omitempty" maxlen:"200" doc:"The run of that job. The newest one that has succeeded if missing."`
}

// IsJob says whether the table is what another job has published.
func (t *Table) IsJob() bool { return t.Job != "" }

// Work is where logs lie.
func (s *Section) Work() (uri, connection string) { return s.WorkURI, s.Output.Connection }

// Publishes is where results go.
func (s *Section) Publishes() (uri, connection string) { return s.Output.URI, s.Output.Connection }

// References are the tables that are results of other jobs.
func (s *Section) References() []jobs.Reference {
	var all []jobs.Reference
	for i, table := range s.Tables {
		if table.IsJob() {
			all = append(all, jobs.Reference{Pointer: jobs.JoinPointer("/"+Name, "tables", strconv.Itoa(i), "job"), Job: table.Job, Run: table.Run})
		}
	}
	return all
}

// Check is what an executor is asked to judge: the text of the only [jobs.Expression], as JSON. It names the tables,
// because answers are kept by text.
type Check struct {
	Tables    []string `json:"tables"`
	Statement string   `json:"statement"`
}

// ParseCheck reads the text of the expression.
func ParseCheck(text string) (Check, error) {
	var c Check
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return Check{}, fmt.Errorf("read statement to be checked: %w", err)
	}
	return c, nil
}

// Expressions is the statement, as a [Check].
func (s *Section) Expressions() []jobs.Expression {
	check := Check{Statement: s.Statement}
	for _, table := range s.Tables {
		check.Tables = append(check.Tables, table.Name)
	}
	text, err := json.Marshal(check)
	if err != nil {
		panic("encode statement to be checked: " + err.Error()) // texts can be encoded
	}
	return []jobs.Expression{{Pointer: "/" + Name + "/statement", Text: string(text)}}
}

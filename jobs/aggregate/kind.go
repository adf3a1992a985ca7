package aggregate

import (
	"slices"
	"strings"

	"github.com/tidemill/tidemill/jobs"
)

// Name is the kind's name.
const Name = "aggregate"

// Kind is the kind "aggregate". It has no state.
type Kind struct{}

var (
	_ jobs.Repeater  = Kind{}
	_ jobs.Publisher = (*Section)(nil)
)

// Name is "aggregate".
func (Kind) Name() string { return Name }

// DecodeSection reads a [*Section].
func (Kind) DecodeSection(d *jobs.Decoder) jobs.Section {
	s := &Section{}
	d.Into(s)
	if !d.Present() {
		return s
	}
	s.Input.Settle(d.At("input"))
	s.Output.Settle(d.At("output"))
	s.checkColumns(d)
	s.checkPlaces(d)
	s.checkWindow(d)
	s.checkSets(d)
	s.checkOrder(d)
	s.checkPartitions(d)
	s.checkIncrement(d)
	if s.WorkURI == "" && s.Output.URI != "" {
		s.WorkURI = s.Output.URI + "_work/"
	}
	return s
}

// Settle fills in what depends on other fields, and checks the characters of CSV against one another.
func (in *Input) Settle(d *jobs.Decoder) {
	if in.Format != "csv" {
		return
	}
	if !d.At("escape").Present() {
		in.Escape = in.Quote
	}
	switch {
	case in.Delimiter == in.Quote:
		d.At("quote").Problem("quote and delimiter are the same character")
	case in.Delimiter == in.Escape:
		d.At("escape").Problem("escape and delimiter are the same character")
	case in.Quote == "" && in.Escape != "":
		d.At("escape").Problem("an escape character needs a quote character")
	}
}

// compressions of each output format; the first is the default.
var compressions = map[string][]string{
	"parquet": {"zstd", "snappy", "none"},
	"csv":     {"none", "gzip", "zstd"},
	"jsonl":   {"none", "gzip", "zstd"},
}

// Settle fills in the compression, and checks that the format has it.
func (out *Output) Settle(d *jobs.Decoder) {
	allowed := compressions[out.Format]
	switch at := d.At("compression"); {
	case !d.At("format").Sound() || !at.Sound():
	case out.Compression == "":
		out.Compression = allowed[0]
	case !slices.Contains(allowed, out.Compression):
		at.Problem("%s files are compressed with one of %s, got %q", out.Format, strings.Join(allowed, ", "), out.Compression)
	}
}

// checkPlaces makes sure that a run never reads what runs write.
func (s *Section) checkPlaces(d *jobs.Decoder) {
	in, out, work := d.At("input", "uri"), d.At("output", "uri"), d.At("work")
	if in.Present() && in.Sound() && out.Present() && out.Sound() {
		switch {
		case s.Input.URI != s.Output.URI && strings.HasPrefix(s.Input.URI, s.Output.URI):
			in.Problem("the input lies inside the output %s: the job would read its own results", s.Output.URI)
		case s.Input.Reaches(s.Output.URI):
			out.Problem("the output lies inside the input %s: the job would read its own results", s.Input.URI)
		}
	}
	if in.Present() && in.Sound() && work.Present() && work.Sound() && s.Input.Reaches(s.WorkURI) {
		work.Problem("the work area lies inside the input %s: the job would read its own intermediate results", s.Input.URI)
	}
}

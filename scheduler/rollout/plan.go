package rollout

import (
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// Bounds of a plan.
const (
	MostSteps    = 20
	MostInterval = 30 * 24 * time.Hour
	MostRuns     = 1_000_000 // of MinRuns
	MostPatterns = 1000      // of Jobs
	MostRatio    = 1000
)

// Complete fills the zero fields of a plan in with defaults, and says what is wrong with it. Pointers begin at the plan.
// The plan that was given stays as it is.
func Complete(given proto.RolloutPlan) (proto.RolloutPlan, []jobs.Problem) {
	p := given
	if len(p.Steps) == 0 {
		p.Steps = []uint32{10, 50, 100}
	}
	if p.Interval == 0 {
		p.Interval = 30 * time.Minute
	}
	if p.MinRuns == 0 {
		p.MinRuns = 20
	}
	if p.MaxFailureRatio == 0 {
		p.MaxFailureRatio = 1.5
	}
	problems := stepProblems(p.Steps)
	add := func(wrong bool, pointer, detail string) {
		if wrong {
			problems = append(problems, jobs.Problem{Pointer: pointer, Detail: detail})
		}
	}
	add(p.Interval < 0 || p.Interval > MostInterval, "/interval", "it must be above 0 and at most 720h")
	add(p.MinRuns > MostRuns, "/min_runs", fmt.Sprintf("it must be 1 to %d", MostRuns))
	add(!ratio(p.MaxFailureRatio) || p.MaxFailureRatio < 1, "/max_failure_ratio", fmt.Sprintf("it must be 1 to %d", MostRatio))
	add(p.MaxDurationRatio != 0 && (!ratio(p.MaxDurationRatio) || p.MaxDurationRatio < 1), "/max_duration_ratio", fmt.Sprintf("it must be 1 to %d", MostRatio))
	add(p.MinRateRatio != 0 && (!ratio(p.MinRateRatio) || p.MinRateRatio > 1), "/min_rate_ratio", "it must be above 0 and at most 1")
	add(len(p.Jobs) > MostPatterns, "/jobs", fmt.Sprintf("at most %d names and patterns are allowed", MostPatterns))
	for i, pattern := range p.Jobs {
		add(!patternOK(pattern), "/jobs/"+strconv.Itoa(i), fmt.Sprintf("%q is no job's name and no pattern of one: a-z 0-9 - _ . and * are allowed", pattern))
	}
	return p, problems
}

func ratio(x float64) bool { return x > 0 && x <= MostRatio && !math.IsNaN(x) }

func stepProblems(steps []uint32) []jobs.Problem {
	if len(steps) > MostSteps {
		return []jobs.Problem{{Pointer: "/steps", Detail: fmt.Sprintf("at most %d steps are allowed", MostSteps)}}
	}
	var problems []jobs.Problem
	for i, share := range steps {
		pointer := "/steps/" + strconv.Itoa(i)
		switch {
		case share < 1 || share > 100:
			problems = append(problems, jobs.Problem{Pointer: pointer, Detail: "a share is 1 to 100 percent"})
		case i > 0 && share <= steps[i-1]:
			problems = append(problems, jobs.Problem{Pointer: pointer, Detail: fmt.Sprintf("each share must be larger than the one before, %d", steps[i-1])})
		}
	}
	return problems
}

func patternOK(pattern string) bool {
	const most = 100
	ok := func(c rune) bool {
		return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.ContainsRune("-_.*", c)
	}
	return pattern != "" && len(pattern) <= most && strings.TrimFunc(pattern, ok) == ""
}

// TakesPart says whether a job that follows the channel takes part in the plan.
func TakesPart(plan *proto.RolloutPlan, job string) bool {
	for _, pattern := range plan.Jobs {
		if matched, err := path.Match(pattern, job); err == nil && matched {
			return true
		}
	}
	return len(plan.Jobs) == 0
}

// Equal says whether two plans ask for the same, defaults filled in.
func Equal(a, b *proto.RolloutPlan) bool { return string(proto.Encode(a)) == string(proto.Encode(b)) }

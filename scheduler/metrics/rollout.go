package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/rollout"
)

// The newest rollout of each channel; version is the one that it moves to.
var (
	rolloutStateDesc   = prometheus.NewDesc("tidemill_rollout_state", "1 for the state that a channel's newest rollout is in, 0 for the others.", []string{"channel", "version", "state"}, nil)
	rolloutShareDesc   = prometheus.NewDesc("tidemill_rollout_share", "Share of the runs that are started on the new version, 0 to 1; absent when the rollout has ended.", []string{"channel", "version"}, nil)
	rolloutStepDesc    = prometheus.NewDesc("tidemill_rollout_step", "Step that the rollout is in, from 1; absent when it has ended.", []string{"channel", "version"}, nil)
	rolloutOverdueDesc = prometheus.NewDesc("tidemill_rollout_overdue_seconds", "For how long the rollout has stayed in its step beyond the interval of its plan, because too few runs have ended or they decide nothing; absent unless it runs.", []string{"channel", "version"}, nil)
	rolloutRunsDesc    = prometheus.NewDesc("tidemill_rollout_runs", "Runs that a channel's newest rollout compares, by side (old or new) and outcome (succeeded or failed).", []string{"channel", "version", "side", "outcome"}, nil)
)

var rolloutDescs = []*prometheus.Desc{rolloutStateDesc, rolloutShareDesc, rolloutStepDesc, rolloutOverdueDesc, rolloutRunsDesc}

// collectRollouts shows the rollouts of a view.
func collectRollouts(view *scheduler.View, gauge func(desc *prometheus.Desc, value float64, labels ...string)) {
	for channel, v := range view.Rollouts {
		r := v.Rollout
		for number := range proto.RolloutState_name {
			state := proto.RolloutState(number)
			gauge(rolloutStateDesc, oneIf(r.State == state), channel, r.To, rollout.StateName(state))
		}
		if rollout.Open(r) {
			gauge(rolloutShareDesc, float64(rollout.Share(r))/100, channel, r.To)
			gauge(rolloutStepDesc, float64(r.Step+1), channel, r.To)
		}
		if r.State == proto.ROLLOUT_RUNNING {
			overdue := 0.0
			if !v.Until.IsZero() {
				overdue = max(0, time.Since(v.Until).Seconds())
			}
			gauge(rolloutOverdueDesc, overdue, channel, r.To)
		}
		var old, fresh proto.Sample
		for _, tally := range v.Tallies {
			old.Runs, old.Failed = old.Runs+tally.Old.Runs, old.Failed+tally.Old.Failed
			fresh.Runs, fresh.Failed = fresh.Runs+tally.New.Runs, fresh.Failed+tally.New.Failed
		}
		for side, sample := range map[string]proto.Sample{"old": old, "new": fresh} {
			gauge(rolloutRunsDesc, float64(sample.Runs-sample.Failed), channel, r.To, side, "succeeded")
			gauge(rolloutRunsDesc, float64(sample.Failed), channel, r.To, side, "failed")
		}
	}
}

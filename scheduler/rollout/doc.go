// Package rollout is how a channel moves from one executor version to another by steps: which runs go to the new version,
// when the next step is due, and what the runs so far say. It is pure: time comes in, and what it decides is in the
// record that it changes. scheduler calls it, stores the records, and carries out what they say.
//
// # Words
//
// A rollout has a plan: shares in percent, which are its steps, and what a step needs before it is left. It is open while
// it runs or is paused. The old version is the one that it moves from, to which the channel points until the rollout is
// promoted; the new version is the one that it moves to. A run of a job that takes part goes to the new version if it
// lies in the share (see [Slot]). A tally is what was seen of one job: a sample of runs on either version.
//
// # Steering
//
// People pause, resume, promote and abort. A paused rollout keeps its share, and the time of its step stands still. If it
// has paused by itself, resuming begins the step anew: with what is known it would pause again at once. Of the runs on the
// new version those count for the step that were started since it began.
//
// # Judgement
//
// Failures are compared job by job, for jobs fail for reasons of their own. Of the new version's n runs X have failed. If
// each job failed there as often as on the old version, it would be
//
//	E = Σ over jobs of n(job) × (failed(job) + ½) / (runs(job) + 1)
//
// where the fraction p(job) is the old version's failure rate, smoothed as Krichevsky and Trofimov do it. The plan allows
//
//	A = Σ over jobs of n(job) × min(1, max_failure_ratio × p(job))
//
// A job that always failed is allowed its own runs and no more: what it could fail beyond them is no licence for the
// others. The rollout is taken back, whenever that is, also while it is paused, if
//
//   - X is above that, and at least 2: a single failure has too many possible reasons, and
//   - P(X or more of n) is below 1 % under the binomial distribution with p = A / n.
//
// The runs' probabilities differ by job; with their mean for all, the binomial tail is an upper bound of the true one
// (Hoeffding 1956, "On the distribution of the number of successes in independent trials"). It is looked at after each
// run, and what is looked at often is found by chance more often than once in a hundred; on the other hand the plan allows
// more failures than E. By simulation (TestCourses) at most 3 % of the rollouts of an equally good version are taken back,
// and one that fails half of its runs after some 2 to 4 failures.
//
// A step is over when its interval has passed and min_runs runs of it have ended. Then, with X above what is allowed but
// not taken back, it goes on collecting, and pauses after three intervals and three times min_runs; so it does with any
// failure if no run at all is known on the old version, for what is expected then is a guess. If there are many jobs
// with a run or two each, the ½ of each lets nearly any failures pass: it pauses, too, if X is above max_failure_ratio × L
// at 1 %, with L = Σ over jobs of n(job) × failed(job) / (runs(job) + 1), and n times the smoothed rate of all jobs
// together. Else speed is looked
// at, if the plan says so: the means of the logarithms of durations and of rows a second, for jobs with at least 5 runs
// on both versions, weighted by the runs on the new one. If their ratio is beyond the limit, and Welch's t test takes the
// versions for different at 1 %, the rollout pauses; speed never takes it back. Else the next step begins, or after the
// last one the rollout is promoted.
//
// A run that does not end fails nothing, and a version that hangs would keep a rollout in its step without a word. It
// pauses if no run of the step has ended and one that was started in it is older than ten intervals and than a day (see
// [Stuck]).
package rollout

package rollout

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/tidemill/tidemill/proto"
)

// slots are so many that each percent is a whole number of them.
const slots = 10_000

// Slot is where a run lies among those of its job, 0 to 9,999: the first eight bytes of the SHA-256 over the job's name,
// a line feed and the run's ID, read as a big-endian number, modulo 10,000. It is the same for ever: a share that grows
// takes in what it had before.
func Slot(job, run string) int {
	sum := sha256.Sum256([]byte(job + "\n" + run))
	return int(binary.BigEndian.Uint64(sum[:8]) % slots)
}

// Takes says whether a run lies in a share in percent, and so goes to the new version: Slot < share × 100.
func Takes(job, run string, share uint32) bool { return Slot(job, run) < int(share)*slots/100 }

// Share is the percentage of the runs that a rollout sends to its new version now; 0 once it has ended without promotion,
// 100 after it.
func Share(r *proto.Rollout) uint32 {
	switch {
	case Open(r):
		return r.Plan.Steps[r.Step]
	case r.State == proto.ROLLOUT_PROMOTED:
		return 100
	default:
		return 0
	}
}

package logs

import "github.com/tidemill/tidemill/proto"

// Attempt is one try of a task as it is at present.
type Attempt struct {
	*proto.Attempt        // not to be changed
	Spec           []byte // of its run, JSON; nil for a check
}

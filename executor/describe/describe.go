package describe

import (
	"runtime"
	"sync"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/proto/describe"
)

// block is one constant, hence one piece of the binary.
const block = `tidemill-executor-description:{` +
	`"os":"` + runtime.GOOS + `","arch":"` + runtime.GOARCH + `",` +
	`"protocol":{"min":1,"max":2},` +
	`"kinds":["aggregate","sql"],` +
	`"features":[` + features + `]};`

// stamp is the version with its marker, set by the linker: see dev/build. Without one, this build cannot be registered.
var stamp string

// unstamped is the version of a build without a stamp.
const unstamped = "unstamped"

// Own is the description of this build. It panics if the block is broken, which a test rules out.
var Own = sync.OnceValue(func() proto.Description {
	s := stamp
	if s == "" {
		s = describe.VersionMarker + unstamped + ";"
	}
	d, err := describe.Parse(block, s)
	if err != nil {
		panic(err)
	}
	return d
})

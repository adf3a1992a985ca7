package build

import (
	"runtime/debug"
	"strings"
)

// stamp is set at build time: -ldflags "-X github.com/tidemill/tidemill/cmd/internal/build.stamp=1.2.0".
var stamp string

// Version is the stamped version, else the one that the Go tool recorded (a module version or a commit), else "dev".
func Version() string {
	if stamp != "" {
		return stamp
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return strings.TrimPrefix(v, "v")
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && len(setting.Value) >= 12 {
			return "dev-" + setting.Value[:12]
		}
	}
	return "dev"
}

// Package build says which build of tidemill this is, for --version, logs, metrics and /v1/info.
package build

package hdfs

import (
	_ "embed"

	"github.com/tidemill/tidemill/dev/maven"
)

const version = "3.4.2"

//go:embed pom.xml
var pom []byte

//go:embed jars.sha256
var sums string

var bundle = maven.Bundle{Name: "hdfs-" + version, POM: pom, Transitive: true, Sums: maven.ParseSums(sums)}

// Available says what is missing on this machine to start a cluster: nil, maven.ErrNoJava, maven.ErrNoMaven, or why the
// cache folder cannot be found. It does not try to fetch anything.
func Available() error { return bundle.Available() }

package zookeeper

import (
	_ "embed"

	"github.com/tidemill/tidemill/dev/maven"
)

const version = "3.9.4"

//go:embed pom.xml
var pom []byte

var bundle = maven.Bundle{
	Name: "zookeeper-" + version,
	POM:  pom,
	Sums: map[string]string{
		"zookeeper-3.9.4.jar":        "7bb3bb38bbddbc71424c59a7a0b170a1b2147313a84c972225ab0568dab513bf",
		"zookeeper-jute-3.9.4.jar":   "bd9750935add09b6cb920f7bcf0fa7b9a8165c45cdafd8ee1fc6808c46ec9094",
		"slf4j-api-2.0.13.jar":       "e7c2a48e8515ba1f49fa637d57b4e2f590b3f5bd97407ac699c3aa5efb1204a9",
		"logback-classic-1.3.15.jar": "06c68fb7468143c3c6512d13bb8eb6676724b019330de3a5ab493e267dde2084",
		"logback-core-1.3.15.jar":    "90b72ec457f30f8f42a280a409ab2bc4499fec16983005d1d91015199be7047b",
		"snappy-java-1.1.10.5.jar":   "0f3f1857ed33116583f480b4df5c0218836c47bfbc9c6221c0d73f356decf37b",
		"metrics-core-4.1.12.1.jar":  "cec34936faa625039f4e46123eccaa10a9eb9d9a40c6075830cd81330e259cf9",
	},
}

// Available says what is missing on this machine to start a server: nil, maven.ErrNoJava, maven.ErrNoMaven, or why the
// cache folder cannot be found. It does not try to fetch anything.
func Available() error { return bundle.Available() }

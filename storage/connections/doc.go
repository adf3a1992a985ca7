// Package connections resolves connections: named ways to outside systems, keys
// included. A job spec only ever says a name; the executor resolves it on the
// agent, from a file that only its user can read:
//
//	{"connections": {
//	  "s3":   {"type": "s3", "endpoint": "http://127.0.0.1:9000", "region": "us-east-1",
//	           "access_key": "…", "secret_key": "…", "session_token": "", "path_style": true},
//	  "lake": {"type": "file", "root": "/srv/lake"},
//	  "prod": {"type": "hdfs", "name_nodes": ["nn1:8020", "nn2:8020"], "nameservice": "prod",
//	           "kerberos": {"principal": "tidemill@EXAMPLE.COM", "keytab_file": "/etc/tidemill/tidemill.keytab"}}
//	}}
//
// Names are 1 to 63 of a-z 0-9 - _ . and begin with a letter or digit. The
// fields of each type are those of s3Fields, fileFields and hdfsFields; docs/storage.md
// explains them. "type" is always needed, and the "root" of a folder. Without an entry "s3", or
// without the file, the connection "s3" is AWS with the default chain:
// environment, shared files, the instance's role.
//
// The executor and the scheduler call Load once and Open for each bucket or
// folder, and Close at the end. Errors name connections and fields, never
// values.
package connections

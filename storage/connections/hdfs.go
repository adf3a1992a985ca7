package connections

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/hdfs"
)

// hdfsFields is an entry of type hdfs; see hdfs.Config for what they mean.
type hdfsFields struct {
	Type            string          `json:"type"`
	NameNodes       []string        `json:"name_nodes"`
	Nameservice     string          `json:"nameservice"`
	HadoopConf      string          `json:"hadoop_conf"`
	User            string          `json:"user"`
	Root            string          `json:"root"`
	Protection      string          `json:"protection"`
	DataNodesByName bool            `json:"data_nodes_by_name"`
	Kerberos        *kerberosFields `json:"kerberos"`
}

type kerberosFields struct {
	Principal         string `json:"principal"`
	KeytabFile        string `json:"keytab_file"`
	Krb5Conf          string `json:"krb5_conf"`
	NameNodePrincipal string `json:"name_node_principal"`
}

// hdfsConnection connects and logs in when its first store is used.
type hdfsConnection struct{ client *hdfs.Client }

func newHDFS(entry jsontext.Value) (connection, error) {
	var f hdfsFields
	if err := decode(entry, &f); err != nil {
		return nil, err
	}
	config := hdfs.Config{
		NameNodes:       f.NameNodes,
		Nameservice:     f.Nameservice,
		HadoopConf:      f.HadoopConf,
		User:            f.User,
		Root:            f.Root,
		Protection:      f.Protection,
		DataNodesByName: f.DataNodesByName,
	}
	if f.Kerberos != nil {
		config.Kerberos = hdfs.Kerberos(*f.Kerberos)
		if config.Kerberos.Principal == "" {
			return nil, fmt.Errorf("%w: field \"kerberos/principal\": want user@REALM or service/host@REALM", storage.ErrInvalid)
		}
	}
	client, err := hdfs.NewClient(config)
	if err != nil {
		return nil, err
	}
	return &hdfsConnection{client}, nil
}

func (c *hdfsConnection) open(_ context.Context, uri storage.URI) (storage.Store, error) {
	if uri.Scheme != storage.SchemeHDFS {
		return nil, wrongScheme(uri, "hdfs", "hdfs://")
	}
	return c.client.Open(uri.Bucket)
}

func (c *hdfsConnection) close() { c.client.Close() }

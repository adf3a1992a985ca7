package connections

import (
	"context"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/s3"
)

// s3Fields is an entry of type s3; see s3.Config for what they mean.
type s3Fields struct {
	Type         string         `json:"type"`
	Endpoint     string         `json:"endpoint"`
	Region       string         `json:"region"`
	AccessKey    string         `json:"access_key"`
	SecretKey    storage.Secret `json:"secret_key"`
	SessionToken storage.Secret `json:"session_token"`
	PathStyle    bool           `json:"path_style"`

	CredentialsFile string `json:"credentials_file"`
	Profile         string `json:"profile"`
	RequesterPays   bool   `json:"requester_pays"`
	Checksums       string `json:"checksums"`
}

// s3Connection makes its client when it is first needed: the default chain may
// not be there on an agent that never uses it.
type s3Connection struct {
	config s3.Config

	mu     sync.Mutex
	client *s3.Client
}

func newS3(entry jsontext.Value) (connection, error) {
	var f s3Fields
	if err := decode(entry, &f); err != nil {
		return nil, err
	}
	c := &s3Connection{config: s3.Config{
		Endpoint:     f.Endpoint,
		Region:       f.Region,
		AccessKey:    f.AccessKey,
		SecretKey:    f.SecretKey,
		SessionToken: f.SessionToken,
		PathStyle:    f.PathStyle,

		CredentialsFile: f.CredentialsFile,
		Profile:         f.Profile,
		RequesterPays:   f.RequesterPays,
		Checksums:       f.Checksums,
	}}
	return c, c.config.Validate()
}

func (c *s3Connection) open(ctx context.Context, uri storage.URI) (storage.Store, error) {
	if uri.Scheme != storage.SchemeS3 {
		return nil, wrongScheme(uri, "s3", "s3://")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		client, err := s3.NewClient(ctx, c.config)
		if err != nil {
			return nil, err
		}
		c.client = client
	}
	return c.client.Bucket(uri.Bucket), nil
}

func (c *s3Connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		c.client.Close()
	}
}

package hdfs

import (
	"cmp"
	"path"
	"sync"
	"time"

	krbclient "github.com/jcmturner/gokrb5/v8/client"
)

// longestSilence is how long a connection may be silent in the middle of a request.
const longestSilence = time.Minute

// Client reaches the nameservices of one connection. Its methods may be called by many goroutines at once.
type Client struct {
	config Config

	mu    sync.Mutex
	pools map[string]*pool // by authority

	login    sync.Mutex
	kerberos *krbclient.Client // once it is needed
}

// NewClient checks c. It opens no files and sends nothing.
func NewClient(c Config) (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Root = path.Clean(cmp.Or(c.Root, "/"))
	return &Client{config: c, pools: map[string]*pool{}}, nil
}

// Open gives the store of a nameservice, or of host:port, as it stands in URIs. It reads Hadoop's configuration and sends
// nothing. An authority that this connection does not reach matches storage.ErrInvalid.
func (c *Client) Open(authority string) (*Store, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pools[authority]
	if !ok {
		place, err := c.config.resolve(authority)
		if err != nil {
			return nil, err
		}
		p = &pool{client: c, place: place}
		c.pools[authority] = p
	}
	return newStore(p, c.config.Root), nil
}

// ticket logs in when that is first needed.
func (c *Client) ticket() (*krbclient.Client, error) {
	if c.config.Kerberos == (Kerberos{}) {
		return nil, nil
	}
	c.login.Lock()
	defer c.login.Unlock()
	if c.kerberos == nil {
		client, err := c.config.Kerberos.login()
		if err != nil {
			return nil, err
		}
		c.kerberos = client
	}
	return c.kerberos, nil
}

// Close drops what is pooled, and the Kerberos ticket.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pools {
		p.drop()
	}
	c.login.Lock()
	defer c.login.Unlock()
	if c.kerberos != nil {
		c.kerberos.Destroy()
		c.kerberos = nil
	}
}

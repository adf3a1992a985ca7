package s3

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/tidemill/tidemill/storage"
)

// defaultRegion is what servers other than AWS expect in signatures.
const defaultRegion = "us-east-1"

// longestSilence is how long a connection may be silent in the middle of a request.
const longestSilence = time.Minute

// Config says how to reach an S3. The zero Config is AWS, with region and keys
// from the default chain: environment, shared files, the instance's role.
type Config struct {
	Endpoint     string // URL without a path; empty: AWS, by region
	Region       string // empty: us-east-1 if there is an endpoint, else the default chain's
	AccessKey    string // empty: keys from the default chain
	SecretKey    storage.Secret
	SessionToken storage.Secret // for temporary keys
	PathStyle    bool           // http://endpoint/bucket/key instead of http://bucket.endpoint/key

	CredentialsFile string // of the default chain, instead of ~/.aws/credentials
	Profile         string // of the default chain's files, instead of AWS_PROFILE or "default"
	RequesterPays   bool   // requests say that whoever makes them pays for them
	Checksums       string // ChecksumsAuto or ChecksumsOff; empty: auto
}

// Validate reports what can never work; its errors match storage.ErrInvalid.
func (c Config) Validate() error {
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" ||
			u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" {
			// The text is not quoted: it may hold a password.
			return fmt.Errorf("check endpoint: %w: want http://host:port or https://host:port and nothing else", storage.ErrInvalid)
		}
	}
	if (c.AccessKey == "") != c.SecretKey.Empty() {
		return fmt.Errorf("check keys: %w: give both access key and secret key, or neither", storage.ErrInvalid)
	}
	if c.AccessKey == "" && !c.SessionToken.Empty() {
		return fmt.Errorf("check keys: %w: a session token needs an access key and a secret key", storage.ErrInvalid)
	}
	if c.AccessKey != "" && (c.CredentialsFile != "" || c.Profile != "") {
		return fmt.Errorf("check keys: %w: give an access key, or a credentials file or profile, not both", storage.ErrInvalid)
	}
	if c.CredentialsFile != "" && !filepath.IsAbs(c.CredentialsFile) {
		return fmt.Errorf("check keys: %w: the credentials file must be an absolute path", storage.ErrInvalid)
	}
	if !slices.Contains([]string{"", ChecksumsAuto, ChecksumsOff}, c.Checksums) {
		return fmt.Errorf("check checksums: %w: they are auto or off", storage.ErrInvalid)
	}
	return nil
}

// Client talks to one S3. Its methods may be called by many goroutines at once.
type Client struct {
	sdk       *awss3.Client
	transport *http.Transport
	checksums checksums
}

// NewClient checks c and reads the default chain's files where c leaves
// something open. It sends nothing to the S3.
func NewClient(ctx context.Context, c Config) (*Client, error) {
	return newClient(ctx, c, longestSilence)
}

func newClient(ctx context.Context, c Config, silence time.Duration) (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	options := awss3.Options{Region: c.Region, UsePathStyle: c.PathStyle}
	if c.Endpoint != "" {
		options.BaseEndpoint = &c.Endpoint
		options.Region = cmp.Or(c.Region, defaultRegion)
	}
	transport := newTransport(silence)
	options.HTTPClient = &http.Client{Transport: &paced{next: transport}, CheckRedirect: neverRedirect}
	if c.RequesterPays {
		options.APIOptions = append(options.APIOptions, smithyhttp.AddHeaderValue("X-Amz-Request-Payer", "requester"))
	}
	// storage.WithRetry repeats. Which calls have checksums is decided for
	// each: many servers do not know the newer ones.
	options.Retryer = aws.NopRetryer{}
	options.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	options.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	if c.AccessKey != "" {
		options.Credentials = credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey.Reveal(), c.SessionToken.Reveal())
	} else if err := useDefaultChain(ctx, c, &options); err != nil {
		return nil, err
	}
	if options.Region == "" {
		return nil, fmt.Errorf("find region: %w: set it in the connection or as AWS_REGION", storage.ErrInvalid)
	}
	client := &Client{sdk: awss3.New(options), transport: transport}
	client.checksums.unknown.Store(c.Checksums == ChecksumsOff)
	return client, nil
}

// useDefaultChain fills in credentials and, if it is open, the region.
func useDefaultChain(ctx context.Context, c Config, options *awss3.Options) error {
	load := []func(*config.LoadOptions) error{config.WithRegion(options.Region)}
	if c.CredentialsFile != "" {
		load = append(load, config.WithSharedCredentialsFiles([]string{c.CredentialsFile}))
	}
	if c.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(c.Profile))
	}
	chain, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return fmt.Errorf("load default AWS configuration: %w: %w", storage.ErrInvalid, err)
	}
	options.Region = chain.Region
	options.Credentials = namedCredentials{chain.Credentials}
	return nil
}

// Close drops the pooled connections. Requests under way are not touched.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Bucket is the store over the bucket name; whether it exists shows in its calls.
func (c *Client) Bucket(name string) *Store {
	return &Store{client: c.sdk, bucket: name, checksums: &c.checksums}
}

// namedCredentials marks the errors of a provider, so that missing keys are not
// taken for a failing network.
type namedCredentials struct{ aws.CredentialsProvider }

type credentialsError struct{ error }

func (e credentialsError) Unwrap() error { return e.error }

func (p namedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	keys, err := p.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, credentialsError{err}
	}
	return keys, nil
}

package artifacts

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// maxKeys bounds a file of keys, in bytes.
const maxKeys = 256 << 10

// SignedText is what the signature of a file with that SHA-256 (64 lower-case hex digits) is made over.
func SignedText(sum string) []byte { return []byte("tidemill executor\nsha256:" + sum + "\n") }

// key is one that may sign executors.
type key struct {
	name   string
	public ed25519.PublicKey
}

// Keys says whose signatures are good, by a file of public keys. Safe for concurrent use. Make one with [OpenKeys].
type Keys struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	text []byte // that was read last, good or not
	bad  error  // what was wrong with it
	keys []key  // of the last good text
}

// OpenKeys reads a file of Ed25519 public keys: PEM blocks PUBLIC KEY (PKIX), as `openssl pkey -pubout` writes them, each
// with a line "# name" before it or else named by its fingerprint. Other lines are not allowed, and neither is a file
// without a key. An error names the file and the key.
func OpenKeys(path string, log *slog.Logger) (*Keys, error) {
	k := &Keys{path: path, log: log}
	text, err := k.read()
	if err != nil {
		return nil, err
	}
	k.text = text
	if k.keys, err = parseKeys(text); err != nil {
		return nil, fmt.Errorf("read keys %s: %w", path, err)
	}
	return k, nil
}

// Verify says which key the signature of a file with that SHA-256 (64 lower-case hex digits) is of. An error is why none
// is, for whoever sent it. It reads the file of keys anew; one that is broken or gone leaves those in force that were read
// before, and the log says so.
func (k *Keys) Verify(sum string, signature []byte) (signedBy string, err error) {
	text := SignedText(sum)
	for _, key := range k.current() {
		if ed25519.Verify(key.public, text, signature) {
			return key.name, nil
		}
	}
	if len(signature) != ed25519.SignatureSize {
		return "", fmt.Errorf("a signature has %d bytes, not %d", ed25519.SignatureSize, len(signature))
	}
	return "", errors.New("the signature is of none of the keys that are configured here, or of another file")
}

// current are the keys in force. Uploads are few, so the file is read for each: no change of it can be missed.
func (k *Keys) current() []key {
	k.mu.Lock()
	defer k.mu.Unlock()
	text, err := k.read()
	if err == nil && bytes.Equal(text, k.text) {
		return k.keys
	}
	if err == nil {
		k.text = text
		var keys []key
		if keys, err = parseKeys(text); err == nil {
			k.log.Info("executor keys were read", "path", k.path, "keys", len(keys))
			k.keys, k.bad = keys, nil
			return keys
		}
	}
	if k.bad == nil || k.bad.Error() != err.Error() {
		k.log.Error("the executor keys cannot be read; those from before stay in force", "path", k.path, "error", err)
	}
	k.bad = err
	return k.keys
}

// Err says why the file as it was read last is not in force; nil if it is. It reads the file anew.
func (k *Keys) Err() error {
	k.current()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bad
}

func (k *Keys) read() (text []byte, err error) {
	file, err := os.Open(k.path)
	if err != nil {
		return nil, err // names the file
	}
	defer file.Close() // only read from
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o002 != 0 {
		return nil, fmt.Errorf("%s has mode %04o: everybody on this machine can add a key, make it 0644", k.path, mode)
	}
	if text, err = io.ReadAll(io.LimitReader(file, maxKeys+1)); err == nil && len(text) > maxKeys {
		err = fmt.Errorf("read keys %s: it has more than %d bytes", k.path, maxKeys)
	}
	return text, err
}

// parseKeys reads what [OpenKeys] describes.
func parseKeys(text []byte) ([]key, error) {
	var keys []key
	name, block := "", []byte(nil)
	for i, line := range strings.SplitAfter(string(text), "\n") {
		bare := strings.TrimSpace(line)
		switch {
		case block != nil || strings.HasPrefix(bare, "-----BEGIN "):
			block = append(block, line...)
			if !strings.HasPrefix(bare, "-----END ") {
				continue
			}
			key, err := parseKey(block, name)
			if err == nil {
				err = known(keys, key)
			}
			if err != nil {
				return nil, fmt.Errorf("key %d, which ends in line %d: %w", len(keys)+1, i+1, err)
			}
			keys, name, block = append(keys, key), "", nil
		case strings.HasPrefix(bare, "#"):
			name = strings.TrimSpace(bare[1:])
		case bare != "":
			return nil, fmt.Errorf("line %d is neither a PEM block nor a comment", i+1)
		}
	}
	switch {
	case block != nil:
		return nil, fmt.Errorf("key %d has no end", len(keys)+1)
	case len(keys) == 0:
		return nil, errors.New("it holds no key")
	}
	return keys, nil
}

func parseKey(text []byte, name string) (key, error) {
	block, _ := pem.Decode(append(bytes.TrimSpace(text), '\n'))
	switch {
	case block == nil:
		return key{}, errors.New("it is no PEM block")
	case strings.Contains(block.Type, "PRIVATE"):
		return key{}, errors.New("it is a private key; give the public one: openssl pkey -pubout")
	case block.Type != "PUBLIC KEY":
		return key{}, fmt.Errorf("it is a %s, not a PUBLIC KEY", block.Type)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return key{}, err
	}
	public, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return key{}, errors.New("it is no Ed25519 key; make one: openssl genpkey -algorithm ed25519")
	}
	if name == "" {
		sum := sha256.Sum256(block.Bytes)
		name = fmt.Sprintf("ed25519:%x", sum[:8])
	}
	return key{name, public}, nil
}

// known refuses a key that is there already, and a name: who signed would not be clear.
func known(keys []key, one key) error {
	for _, other := range keys {
		switch {
		case other.name == one.name:
			return fmt.Errorf("another key is named %q, too", one.name)
		case other.public.Equal(one.public):
			return fmt.Errorf("it is the same as %q", other.name)
		}
	}
	return nil
}

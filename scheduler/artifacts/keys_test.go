package artifacts

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newKey is a key and its public half as OpenSSL writes it.
func newKey(t testing.TB) (ed25519.PrivateKey, string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private, publicPEM(t, public)
}

func publicPEM(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestVerify(t *testing.T) {
	ci, ciPublic := newKey(t)
	nightly, nightlyPublic := newKey(t)
	stranger, strangerPublic := newKey(t)
	path := filepath.Join(t.TempDir(), "keys.pem")
	write(t, path, "# ci\n"+ciPublic+"\n"+nightlyPublic)
	var logged bytes.Buffer
	keys, err := OpenKeys(path, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	sum := sumOf("a file")
	sign := func(key ed25519.PrivateKey, text string) []byte { return ed25519.Sign(key, []byte(text)) }
	text := "tidemill executor\nsha256:" + sum + "\n"
	check := func(what string, signature []byte, want, refused string) {
		t.Helper()
		got, err := keys.Verify(sum, signature)
		if got != want || (err == nil) != (refused == "") || err != nil && !strings.Contains(err.Error(), refused) {
			t.Errorf("%s: got %q, %v, want %q, %q", what, got, err, want, refused)
		}
	}
	check("named key", sign(ci, text), "ci", "")
	if by, err := keys.Verify(sum, sign(nightly, text)); err != nil || !strings.HasPrefix(by, "ed25519:") || len(by) != 24 {
		t.Errorf("key without a name: got %q, %v", by, err)
	}
	check("another file", sign(ci, strings.Replace(text, sum, sumOf("other"), 1)), "", "of another file")
	check("the sum alone", sign(ci, sum), "", "none of the keys")
	check("stranger", sign(stranger, text), "", "none of the keys")
	check("nothing", nil, "", "64 bytes, not 0")
	check("half of it", sign(ci, text)[:32], "", "64 bytes, not 32")
	check("one bit", func() []byte { s := sign(ci, text); s[3] ^= 1; return s }(), "", "none of the keys")

	// What the file says now is what counts; one that is broken changes nothing and is told once.
	write(t, path, "# stranger\n"+strangerPublic)
	check("new key", sign(stranger, text), "stranger", "")
	check("removed key", sign(ci, text), "", "none of the keys")
	for _, broken := range []string{"", "-----BEGIN PUBLIC KEY-----\n", ciPublic + "garbage\n"} {
		write(t, path, broken)
		logged.Reset()
		check("broken file", sign(stranger, text), "stranger", "")
		check("broken file", sign(ci, text), "", "none of the keys")
		if n := strings.Count(logged.String(), "level=ERROR"); n != 1 {
			t.Errorf("%q: logged %d errors: %s", broken, n, &logged)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check("no file", sign(stranger, text), "stranger", "")
	write(t, path, "# ci\n"+ciPublic)
	check("repaired", sign(ci, text), "ci", "")
}

func TestOpenKeysRefuses(t *testing.T) {
	private, public := newKey(t)
	_, other := newKey(t)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	secret := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	for name, test := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"nothing":          {"", 0o644, "holds no key"},
		"only a comment":   {"# ci\n", 0o644, "holds no key"},
		"a private key":    {secret, 0o600, "openssl pkey -pubout"},
		"another curve":    {publicPEM(t, &curve.PublicKey), 0o644, "no Ed25519 key"},
		"a certificate":    {strings.ReplaceAll(public, "PUBLIC KEY", "CERTIFICATE"), 0o644, "a CERTIFICATE"},
		"broken base64":    {strings.Replace(public, "M", "!", 1), 0o644, "key 1, which ends in line 3: it is no PEM block"},
		"no end":           {public[:60], 0o644, "has no end"},
		"text":             {"ci\n" + public, 0o644, "line 1 is neither"},
		"one name twice":   {"# ci\n" + public + "# ci\n" + other, 0o644, "key 2, which ends in line 8: another key is named"},
		"one key twice":    {"# ci\n" + public + "# old\n" + public, 0o644, `the same as "ci"`},
		"too large":        {strings.Repeat("#\n", maxKeys), 0o644, "more than"},
		"open for writing": {public, 0o666, "0666"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.pem")
			write(t, path, test.text)
			if err := os.Chmod(path, test.mode); err != nil {
				t.Fatal(err)
			}
			_, err := OpenKeys(path, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %q and the path", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), secret[30:60]) {
				t.Errorf("the error shows a private key: %v", err)
			}
		})
	}
	if _, err := OpenKeys(filepath.Join(t.TempDir(), "none"), nil); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("no file: got %v", err)
	}
}

// Whatever the text is, keys come out whole and with names that differ, or not at all.
func FuzzParseKeys(f *testing.F) {
	_, one := newKey(f)
	_, two := newKey(f)
	for _, seed := range []string{"", "# ci\n" + one, one + "\n\n# x\r\n" + two, "-----BEGIN PUBLIC KEY-----", strings.ReplaceAll(one, "\n", "\r\n")} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeys(text)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("got %d keys and %v", len(keys), err)
		}
		names := map[string]bool{}
		for _, k := range keys {
			if k.name == "" || names[k.name] || len(k.public) != ed25519.PublicKeySize {
				t.Errorf("got key %q of %d bytes", k.name, len(k.public))
			}
			names[k.name] = true
		}
	})
}

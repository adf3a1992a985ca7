// Package dashboard is the page for people: what runs, how far it is, why it waits, and what went wrong. Its files hold
// no data; the page reads the API like any other client, and asks for the token when one is needed.
package dashboard

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed index.html assets
var files embed.FS

// Assets are the paths that Handler serves beside "/".
func Assets() []string {
	names, err := fs.Glob(files, "assets/*")
	if err != nil {
		panic(err) // only a bad pattern can cause it
	}
	for i, name := range names {
		names[i] = "/" + name
	}
	return names
}

// Handler serves "/" and Assets.
func Handler() http.Handler {
	assets := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-cache")
		assets.ServeHTTP(w, r)
	})
}

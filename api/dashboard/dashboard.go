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

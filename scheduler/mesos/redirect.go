package mesos

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

const maxRedirects = 5

// endpoint is where calls to a master go.
func endpoint(master *url.URL) *url.URL {
	return &url.URL{Scheme: master.Scheme, Host: master.Host, Path: master.Path + apiPath}
}

func redirects(status int) bool {
	return status == http.StatusTemporaryRedirect || status == http.StatusPermanentRedirect
}

// redirect resolves a Location: a URL, or as Mesos writes it //host:port/path, or host:port with neither.
func redirect(from *url.URL, location string) (*url.URL, error) {
	if !strings.Contains(location, "//") && !strings.HasPrefix(location, "/") {
		location = "//" + location
	}
	to, err := from.Parse(location)
	if err != nil || to.Host == "" || (to.Scheme != "https" && to.Scheme != "http") {
		return nil, fmt.Errorf("follow redirect of %s to %q: not a URL of a master", from.Host, location)
	}
	if from.Scheme == "https" && to.Scheme != "https" {
		return nil, fmt.Errorf("follow redirect of %s to %q: it would leave TLS", from.Host, location)
	}
	if !strings.HasSuffix(to.Path, apiPath) {
		to.Path = apiPath
	}
	return &url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}, nil
}

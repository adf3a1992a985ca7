// Package peers fetches what others have built, to compare with: Python packages from PyPI, in an environment of their
// own in the user's cache directory. Nothing of tidemill needs them to run.
package peers

package agent

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
)

// volumeDir is where a persistent volume lies, laid out as in Mesos.
func (a *Agent) volumeDir(r *v1.Resource) string {
	return filepath.Join(a.cfg.WorkDir, "volumes", "roles", filepath.FromSlash(r.ReservationRole()), r.Disk.Persistence.ID)
}

// setTotal takes what the agent has in all from the master. Volumes that are no more
// in it are removed with all that is in them.
func (a *Agent) setTotal(order *link.Total) error {
	total, err := link.DecodeResources(order.Resources)
	if err != nil {
		return fmt.Errorf("set total: %w", err)
	}
	before, err := link.DecodeResources(a.total)
	if err != nil {
		return fmt.Errorf("set total: %w", err)
	}
	a.total = order.Resources
	if err := a.checkpointAgent(); err != nil {
		return err
	}
	for i := range before {
		r := &before[i]
		kept := func(other v1.Resource) bool {
			return other.IsPersistentVolume() && other.Disk.Persistence.ID == r.Disk.Persistence.ID && other.ReservationRole() == r.ReservationRole()
		}
		if r.IsPersistentVolume() && !slices.ContainsFunc(total, kept) {
			if err := os.RemoveAll(a.volumeDir(r)); err != nil {
				return fmt.Errorf("destroy volume %q: %w", r.Disk.Persistence.ID, err)
			}
		}
	}
	return nil
}

// linkVolumes makes the volumes among the resources appear in a sandbox.
func (a *Agent) linkVolumes(sandbox string, rs []v1.Resource) error {
	for i := range rs {
		r := &rs[i]
		if !r.IsPersistentVolume() {
			continue
		}
		dir, at := a.volumeDir(r), filepath.Join(sandbox, r.Disk.GetVolume().GetContainerPath())
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make volume %q: %w", r.Disk.Persistence.ID, err)
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return fmt.Errorf("mount volume %q: %w", r.Disk.Persistence.ID, err)
		}
		if err := os.Symlink(dir, at); err != nil && !os.IsExist(err) {
			return fmt.Errorf("mount volume %q: %w", r.Disk.Persistence.ID, err)
		}
	}
	return nil
}

// removeSocket clears what an agent left that was killed.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return nil // Listen says what is wrong with it
	}
	return os.Remove(path)
}

package rds

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/klog/v2"
)

// Survey is what the appliance has of this driver, on all its pools at once.
type Survey struct {
	// Pools are the mount points that are mounted. Nothing is known about what is on others.
	Pools []string
	// Disks are this driver's disks of this cluster.
	Disks []Disk
	// Others are the backing files of all other file-backed disks, and of those that can't be understood, without their
	// ending. For a disk of this driver that is the volume ID.
	Others []string
	// Files are files of this cluster, named as backing files, that no disk refers to.
	Files []string
}

// Survey reads all pools. Backing files are looked for in the cluster's folder of directory, on each pool, and where the
// disks have theirs. Files are listed between two lists of the disks: a volume that is made or deleted meanwhile is then in
// one of the two, so that its file doesn't look like one without a disk.
//
// It returns ErrNotReady while the appliance boots, or while a pool isn't mounted that a disk of this cluster is on.
// Other errors: ErrUnreachable, *FieldError, or a *CommandError.
func (c *Client) Survey(ctx context.Context, directory string) (Survey, error) {
	if _, err := NewVolumeID("pool", directory, c.config.ClusterID, "name"); err != nil {
		return Survey{}, err
	}
	first, err := c.surveyDisks(ctx, KindInventory)
	if err != nil {
		return Survey{}, err
	}
	survey := c.classify(ctx, first)
	for _, disk := range survey.Disks {
		if !slices.Contains(survey.Pools, disk.ID.Pool()) {
			return Survey{}, fmt.Errorf("survey the disks: %w: no pool is mounted at %q, where disk %s is", ErrNotReady, disk.ID.Pool(), disk.ID)
		}
	}
	folders := survey.folders(directory + "/" + c.config.ClusterID)
	files, err := c.filesInAll(ctx, folders)
	if err != nil {
		return Survey{}, fmt.Errorf("survey the backing files: %w", err)
	}
	second, err := c.surveyDisks(ctx, KindInventory)
	if err != nil {
		return Survey{}, err
	}
	within := func(folder string) bool { return slices.Contains(folders, folder) }
	survey.Files = unreferenced(files, within, slices.Concat(first.disks, second.disks))
	return survey, nil
}

// surveyDisks reads all disks and pools.
func (c *Client) surveyDisks(ctx context.Context, kind Kind) (reply, error) {
	answer, err := c.list(ctx, listDisks(kind, diskProperties, "").everybodys().with(func(cmd *command) {
		cmd.showPools()
		cmd.showVersion() // for metrics: every leader surveys regularly
	}))
	if err != nil {
		return reply{}, fmt.Errorf("survey the disks: %w", asUnreachable(err))
	}
	if answer.uptime < c.config.BootWindow {
		return reply{}, fmt.Errorf("survey the disks: %w: it has been up for %s only, less than the %s it is given to boot", ErrNotReady, answer.uptime, c.config.BootWindow)
	}
	for _, item := range answer.disks {
		if item.odd != nil && item.FilePath == "" {
			return reply{}, fmt.Errorf("survey the disks: %w", asUnreachable(fmt.Errorf("%w: which file the disk in slot %q refers to can't be understood: %w", ErrIncomplete, item.Slot, item.odd)))
		}
	}
	return answer, nil
}

// classify returns the pools, the disks of this cluster, and the others.
func (c *Client) classify(ctx context.Context, answer reply) Survey {
	var survey Survey
	for _, pool := range answer.pools {
		if pool.Mounted && validElement(pool.MountPoint) {
			survey.Pools = append(survey.Pools, pool.MountPoint)
		}
	}
	for _, item := range answer.disks {
		disk, err := item.disk(c.config.ClusterID)
		if errors.Is(err, ErrUnreadable) {
			klog.FromContext(ctx).Error(err, "Left a disk out of the survey", "slot", item.Slot)
		}
		if err != nil {
			survey.Others = append(survey.Others, strings.TrimSuffix(string(newFilePath(item.FilePath)), backingFileType))
			continue
		}
		disk.expectedHost = c.hostOf(disk.Record)
		survey.Disks = append(survey.Disks, disk)
	}
	return survey
}

// folders returns the directories in which backing files may be: this one on every pool, and those of the disks.
func (s Survey) folders(directory string) []string {
	var folders []string
	for _, pool := range s.Pools {
		folders = append(folders, pool+"/"+directory)
	}
	for _, disk := range s.Disks {
		folders = append(folders, disk.ID.directory)
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}

// filesInAll lists the files in these directories: over the transport, or else, as far as they have names of this driver,
// over the console.
func (c *Client) filesInAll(ctx context.Context, folders []string) ([]filePath, error) {
	var files []filePath
	for _, folder := range folders {
		found, err := c.filesIn(ctx, folder)
		if errors.Is(err, ErrNoFiles) {
			found, err = c.consoleFiles(ctx, listFiles(KindInventory, folder, ""))
		}
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	return files, nil
}

// consoleFiles lists files over the console.
func (c *Client) consoleFiles(ctx context.Context, what listing) ([]filePath, error) {
	answer, err := c.list(ctx, what)
	if err != nil {
		return nil, asUnreachable(err)
	}
	var files []filePath
	for _, item := range answer.files {
		files = append(files, newFilePath(item.Name))
	}
	return files, nil
}

// unreferenced returns the files in such folders that are named as backing files and that none of these disks refers to.
func unreferenced(files []filePath, within func(folder string) bool, disks []diskItem) []string {
	referred := map[filePath]bool{}
	for _, item := range disks {
		referred[newFilePath(item.FilePath)] = true
	}
	var found []string
	for _, file := range files {
		id, err := ParseVolumeID(strings.TrimSuffix(string(file), backingFileType))
		if err == nil && id.file() == file && within(path.Dir(string(file))) && !referred[file] {
			found = append(found, string(file))
		}
	}
	return found
}

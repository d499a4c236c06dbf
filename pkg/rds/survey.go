package rds

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Survey is what the appliance has of this driver, on all its pools at once.
type Survey struct {
	// Pools are the mount points that are mounted; of what is on others nothing is known.
	Pools []string
	// Disks are this driver's disks of this cluster.
	Disks []Disk
	// Others are the backing files of all other file-backed disks, without their ending: what would be the ID of a volume
	// if they were ours.
	Others []string
	// Files are files, named as backing files of this driver, that no disk refers to. Which cluster they belonged to can't
	// be told.
	Files []string
}

// Survey looks at everything, in two execs and as many lists of directories as there are pools; where the transport can't
// list them, the second exec does. directory, below each pool, is where backing files are looked for, beside
// where the disks have theirs. Files are listed between two listings of the disks, so that neither a volume that is made
// meanwhile nor one that is deleted leaves a file that seems to be nobody's.
//
// It returns ErrNotReady while the appliance boots, or while a pool isn't mounted that a disk of this cluster is on.
// Other errors: ErrUnreachable, *FieldError, or a *CommandError.
func (c *Client) Survey(ctx context.Context, directory string) (Survey, error) {
	if _, err := NewVolumeID("pool", directory, "name"); err != nil {
		return Survey{}, err
	}
	first, err := c.surveyed(ctx, newCommand(KindInventory))
	if err != nil {
		return Survey{}, err
	}
	survey := c.sort(first)
	for _, disk := range survey.Disks {
		if !slices.Contains(survey.Pools, disk.ID.Pool()) {
			return Survey{}, fmt.Errorf("survey the disks: %w: no pool is mounted at %q, where disk %s is", ErrNotReady, disk.ID.Pool(), disk.ID)
		}
	}
	folders := survey.folders(directory)
	cmd := newCommand(KindInventory)
	files, err := c.filesInAll(ctx, cmd, folders)
	if err != nil {
		return Survey{}, fmt.Errorf("survey the backing files: %w", err)
	}
	second, err := c.surveyed(ctx, cmd)
	if err != nil {
		return Survey{}, err
	}
	for _, item := range second.files {
		files = append(files, newFilePath(item.Name))
	}
	survey.Files = unreferred(files, folders, slices.Concat(first.disks, second.disks))
	return survey, nil
}

// surveyed adds disks, pools and uptime to a command and runs it.
func (c *Client) surveyed(ctx context.Context, cmd *command) (reply, error) {
	cmd.show(markerDisks, "/disk", diskProperties, "type=file")
	cmd.show(markerPools, "/disk", poolProperties, "mounted=yes")
	cmd.showUptime()
	answer, err := c.run(ctx, cmd)
	if err != nil {
		return reply{}, fmt.Errorf("survey the disks: %w", asUnreachable(err))
	}
	if answer.uptime < c.config.BootWindow {
		return reply{}, fmt.Errorf("survey the disks: %w: it has been up for %s only, less than the %s it is given to boot", ErrNotReady, answer.uptime, c.config.BootWindow)
	}
	return answer, nil
}

func (c *Client) sort(answer reply) Survey {
	var survey Survey
	for _, pool := range answer.pools {
		if pool.Mounted && validElement(pool.MountPoint) {
			survey.Pools = append(survey.Pools, pool.MountPoint)
		}
	}
	for _, item := range answer.disks {
		disk, err := item.disk(c.config.ClusterID)
		if err != nil {
			survey.Others = append(survey.Others, strings.TrimSuffix(string(newFilePath(item.FilePath)), backingFileType))
			continue
		}
		disk.expectedHost = c.hostOf(disk.Record)
		survey.Disks = append(survey.Disks, disk)
	}
	return survey
}

// folders are the directories in which backing files may be.
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

// filesInAll lists the files in these directories. Where the transport can't, it has the command show them.
func (c *Client) filesInAll(ctx context.Context, cmd *command, folders []string) ([]filePath, error) {
	var files []filePath
	var conditions []string
	for _, folder := range folders {
		conditions = append(conditions, "name~"+cmd.quoted(folder+"/"))
	}
	for _, folder := range folders {
		found, err := c.filesIn(ctx, folder)
		if errors.Is(err, ErrNoFiles) {
			cmd.show(markerFiles, "/file", fileProperties, strings.Join(conditions, " or "))
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	return files, nil
}

// unreferred are the files in these folders that are named as backing files and that none of these disks refers to.
func unreferred(files []filePath, folders []string, disks []diskItem) []string {
	referred := map[filePath]bool{}
	for _, item := range disks {
		referred[newFilePath(item.FilePath)] = true
	}
	var lonely []string
	for _, file := range files {
		id, err := ParseVolumeID(strings.TrimSuffix(string(file), backingFileType))
		if err == nil && id.file() == file && slices.Contains(folders, path.Dir(string(file))) && !referred[file] {
			lonely = append(lonely, string(file))
		}
	}
	return lonely
}

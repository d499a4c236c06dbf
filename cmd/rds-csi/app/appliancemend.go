package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// applianceMendOptions are the flags of "rds-csi appliance mend".
type applianceMendOptions struct {
	appliance        applianceOptions
	volumeID, volume string
	// id is volumeID, once it is validated.
	id rds.VolumeID
}

// AddFlags registers the flags with their defaults.
func (o *applianceMendOptions) AddFlags(flags *flag.FlagSet) {
	o.appliance.addFlags(flags)
	flags.StringVar(&o.volumeID, "volume-id", "", "ID of the volume whose record is damaged: the volumeHandle of its PersistentVolume")
	flags.StringVar(&o.volume, "volume-name", "", "name that the volume was created under, mostly the PersistentVolume's; needed only if the damaged record doesn't have it any more")
}

// Validate returns an error that names every invalid flag.
func (o *applianceMendOptions) Validate() error {
	id, err := rds.ParseVolumeID(o.volumeID)
	if err != nil {
		err = fmt.Errorf("--volume-id: %w", err)
	}
	o.id, o.appliance.config.ClusterID, o.appliance.config.Port = id, id.Cluster(), defaultNVMePort
	return errors.Join(o.appliance.validate(), err)
}

// mendRecord writes the record of one volume anew, and prints what became of it.
func mendRecord(ctx context.Context, options *applianceMendOptions, out io.Writer) error {
	client, err := options.appliance.connect()
	if err != nil {
		return err
	}
	defer client.Close()
	disk, err := client.Mend(ctx, options.id, options.volume)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "volume %s, created as %s, has a record again: nobody holds it, and it isn't exported\n", disk.ID, disk.Record.Volume)
	return err
}

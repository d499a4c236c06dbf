package appliance

import (
	"fmt"
	"hash/fnv"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// describe adds to a row of /disk what a client has no use for but a person
// sees.
func (a *Appliance) describe(row script.Record) {
	if row["type"] == "file" {
		a.describeFile(row)
		return
	}
	name := script.Format(row["slot"])
	row["fs-uuid"], row["raid-uuid"] = uuid("fs "+name), uuid("raid "+name)
	row["slot-default"], row["parent"] = "", ""
	for _, pool := range a.options.Pools {
		if pool.Name == name {
			row["fs-label"] = pool.Label
		}
	}
	size, sized := row["size"].(int64)
	free, known := row["free"].(int64)
	if sized && known && size > 0 {
		// Rounded up, as 1 213 248 258 048 of 16 003 143 565 312 are 8%.
		row["use"] = (100*((size-free)>>10) + (size >> 10) - 1) / (size >> 10)
	}
}

func (a *Appliance) describeFile(row script.Record) {
	if a.options.WithoutRose {
		return
	}
	for _, sharing := range []string{"iscsi-export", "nfs-sharing", "smb-sharing", "media-sharing"} {
		row[sharing] = false
	}
	row["raid-master"], row["media-interface"] = "none", "none"
}

// uuid derives an identity from a name, so that it stays the same.
func uuid(name string) string {
	h := fnv.New128a()
	_, _ = h.Write([]byte(name)) // never fails
	b := h.Sum(nil)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

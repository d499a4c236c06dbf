package rds

// Pools are mounted pools as one reply had them.
type Pools struct {
	Mounted []Pool
	// All is set if no other pool was mounted. It isn't set while the appliance boots.
	All bool
}

// Pool is a mounted pool. Size and Free are in bytes, as RouterOS reports them. State is RouterOS's word for its health, such
// as "clean"; empty where there is none.
type Pool struct {
	MountPoint string
	Size, Free int64
	State      string
}

// observeState tells of the pools and the version in a reply.
func (c *Client) observeState(cmd *command, answer reply) {
	if answer.version != "" && c.config.ObserveVersion != nil {
		c.config.ObserveVersion(answer.version)
	}
	if c.config.ObservePools == nil {
		return
	}
	pools := Pools{All: cmd.allPools && answer.uptime >= c.config.BootWindow}
	for _, item := range answer.pools {
		switch {
		case item.odd != nil:
			pools.All = false // it may be any
		case item.Mounted && validElement(item.MountPoint):
			pools.Mounted = append(pools.Mounted, Pool{MountPoint: item.MountPoint, Size: int64(item.Size), Free: int64(item.Free), State: item.State})
		}
	}
	if pools.All || len(pools.Mounted) > 0 {
		c.config.ObservePools(pools)
	}
}

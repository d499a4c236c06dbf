// Package publishcontext encodes and decodes what the controller passes to a node about a volume.
package publishcontext

import (
	"net/netip"
	"regexp"
	"strconv"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// Context is what the controller passes to the node as publish_context. external-attacher also stores it as the
// VolumeAttachment's attachmentMetadata. There the grant proves later whether the appliance went back in time.
type Context struct {
	Target nvme.Target
	Grant  attach.Grant
}

const (
	keyAddress = "address"
	keyPort    = "port"
)

// Encode returns the publish_context.
func (c Context) Encode() map[string]string {
	values := map[string]string{keyAddress: c.Target.Address, keyPort: strconv.Itoa(int(c.Target.Port))}
	c.Grant.Encode(values)
	return values
}

// Decode reads what Encode wrote. Errors are *failure.InvalidError.
func Decode(values map[string]string) (Context, error) {
	grant, ok := attach.ParseGrant(values)
	if !ok || values[keyAddress] == "" {
		return Context{}, &failure.InvalidError{Field: "publish_context", Want: "what ControllerPublishVolume gave, whole"}
	}
	port, err := strconv.ParseUint(values[keyPort], 10, 16)
	if err != nil || port == 0 {
		return Context{}, &failure.InvalidError{Field: "publish_context " + keyPort, Want: "1 to 65535"}
	}
	if !isHost(values[keyAddress]) {
		return Context{}, &failure.InvalidError{Field: "publish_context " + keyAddress, Want: "an IP address or a DNS name"}
	}
	target := nvme.Target{SubsystemNQN: grant.SubsystemNQN, Address: values[keyAddress], Port: uint16(port)}
	return Context{Target: target, Grant: grant}, nil
}

// longestHost is the longest DNS name, in bytes.
const longestHost = 253

// isHost reports whether text is an IP address or has the form of a DNS name.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	matched, err := regexp.MatchString(`^[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?$`, text)
	return err == nil && matched && len(text) <= longestHost
}

package csi

import (
	"net/netip"
	"regexp"
	"strconv"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// publishContext is what the controller tells the node through publish_context. external-attacher also stores it as the
// VolumeAttachment's attachmentMetadata, where the grant lets us notice an appliance that went back in time.
type publishContext struct {
	target nvme.Target
	grant  attach.Grant
}

const (
	keyAddress = "address"
	keyPort    = "port"
)

func (c publishContext) encode() map[string]string {
	values := map[string]string{keyAddress: c.target.Address, keyPort: strconv.Itoa(int(c.target.Port))}
	c.grant.Encode(values)
	return values
}

// decodePublishContext reads what encode wrote. Its errors are *invalidError.
func decodePublishContext(values map[string]string) (publishContext, error) {
	grant, ok := attach.ParseGrant(values)
	if !ok || values[keyAddress] == "" {
		return publishContext{}, &invalidError{field: "publish_context", want: "what ControllerPublishVolume gave, whole"}
	}
	port, err := strconv.ParseUint(values[keyPort], 10, 16)
	if err != nil || port == 0 {
		return publishContext{}, &invalidError{field: "publish_context " + keyPort, want: "1 to 65535"}
	}
	if !isHost(values[keyAddress]) {
		return publishContext{}, &invalidError{field: "publish_context " + keyAddress, want: "an IP address or a DNS name"}
	}
	target := nvme.Target{SubsystemNQN: grant.SubsystemNQN, Address: values[keyAddress], Port: uint16(port)}
	return publishContext{target: target, grant: grant}, nil
}

// longestHost is the longest DNS name, in bytes.
const longestHost = 253

// isHost tells whether text can be an IP address or a DNS name; whether the name is known is another question.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	matched, err := regexp.MatchString(`^[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?$`, text)
	return err == nil && matched && len(text) <= longestHost
}

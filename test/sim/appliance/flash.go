package appliance

import (
	"fmt"
	"time"
)

// image is the configuration as it was written at one time. Flash has it
// Options.FlashDelay later.
type image struct {
	written time.Time
	data    []byte
}

// remember keeps an image for a power cut to come back to, and forgets those
// that a newer one in flash has replaced.
func (a *Appliance) remember(data []byte) {
	if a.options.FlashDelay == 0 {
		return
	}
	a.flash = append(a.flash[a.inFlash():], image{written: time.Now(), data: data})
}

// inFlash is the index of the newest image that reached flash. The first one
// always has.
func (a *Appliance) inFlash() int {
	newest := 0
	for i, img := range a.flash {
		if time.Since(img.written) >= a.options.FlashDelay {
			newest = i
		}
	}
	return newest
}

// revert goes back to what is in flash: all disks and all their properties
// together. Files are on the pools and stay as they are.
func (a *Appliance) revert() error {
	if a.options.FlashDelay == 0 {
		return nil
	}
	img := a.flash[a.inFlash()]
	a.flash = []image{img}
	if err := a.restore(img.data); err != nil {
		return fmt.Errorf("go back to the configuration in flash: %w", err)
	}
	return a.write(img.data)
}

//go:build !linux

package runtime

// refuseNew is for Linux, where this runs in earnest. Elsewhere a connection that is made in the instant between the
// last Accept and the close may be reset.
func (l *listener) refuseNew() {}

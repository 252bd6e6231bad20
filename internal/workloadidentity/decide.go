package workloadidentity

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Mutation is what the webhook does to a pod.
type Mutation struct {
	// Patch adds what the pod lacks. It is empty when the pod has all of it:
	// deciding again about a patched pod changes nothing.
	Patch Patch
	// Warnings are for whoever created the pod: mistakes that do not stop it.
	Warnings []string
	// Identity is the client ID that the pod's containers are told, "" if none.
	Identity string
	// Volume is the name of the token volume.
	Volume string
	// Containers says what each container gets, in the order of the pod, init
	// containers first.
	Containers []ContainerChange
	// Proxy is true when containers of the token proxy were added.
	Proxy bool
}

// ContainerChange is what one container gets, and why not more.
type ContainerChange struct {
	Name string
	Init bool
	// Skipped: the pod's annotation names the container.
	Skipped bool
	// Env are the variables added. Those that the container has are left alone.
	Env []string
	// Mounted is true when the token's mount was added.
	Mounted bool
}

// DenialError is a pod that the webhook refuses: its message is for whoever made it.
type DenialError struct {
	// Code is the HTTP status by which the API server refuses the pod.
	Code    int
	Message string
}

func (d *DenialError) Error() string { return d.Message }

func deny(format string, args ...any) *DenialError {
	return &DenialError{Code: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

// decision is one call of Decide.
type decision struct {
	pod      *Pod
	sa       ServiceAccount
	settings *Settings
	custom   *CustomTokenEndpoint // nil unless the pod chose it
	env      []jsontext.Value     // the variables that every container gets
	envNames []string             // and their names
	envArray jsontext.Value       // all of env, for a container that has none
	volume   string
	mount    jsontext.Value
	skip     []string
	out      Mutation
}

// Decide says what a pod gets. Settings must have been validated. The error is
// always a *DenialError.
func Decide(pod *Pod, sa ServiceAccount, settings *Settings) (Mutation, error) {
	if pod == nil || pod.Spec == nil {
		return Mutation{}, deny("the pod has no spec")
	}
	if slices.Contains(pod.Spec.Containers, nil) || slices.Contains(pod.Spec.InitContainers, nil) {
		return Mutation{}, deny("a container of the pod is null")
	}
	d := &decision{pod: pod, sa: sa, settings: settings}
	if c := settings.CustomToken; c != nil && strings.EqualFold(pod.Metadata.Annotations[c.annotation()], "true") {
		d.custom = c
	}
	port, err := d.proxyPort()
	if err != nil {
		return Mutation{}, err
	}
	expiration, err := d.expiration()
	if err != nil {
		return Mutation{}, err
	}
	d.variables()
	d.envArray = array(d.env)
	d.skip = d.skipped()
	d.warnAboutServiceAccount()
	volumeValue, err := d.findVolume(expiration)
	if err != nil {
		return Mutation{}, err
	}
	d.mount = d.mountValue()
	d.out.Identity, d.out.Volume = sa.ClientID, d.volume
	d.out.Containers = make([]ContainerChange, 0, len(pod.Spec.InitContainers)+len(pod.Spec.Containers))
	d.out.Patch = make(Patch, 0, 1+(1+len(d.env))*cap(d.out.Containers))
	d.containers("/spec/initContainers", pod.Spec.InitContainers, true)
	d.containers("/spec/containers", pod.Spec.Containers, false)
	if volumeValue != nil {
		d.out.Patch.appendTo("/spec/volumes", pod.Spec.Volumes != nil, []jsontext.Value{volumeValue})
	}
	// Last, since putting containers first moves the indexes of the others.
	if port != 0 {
		d.proxy(port)
	}
	return d.out, nil
}

// expiration gives the lifetime of the projected token in seconds. A value on
// the pod wins, so that a bad one on the service account does not count then.
func (d *decision) expiration() (int64, error) {
	value, where := d.pod.Metadata.Annotations[ExpirationAnnotation], "the pod"
	if value == "" {
		value, where = d.sa.Expiration, "the service account"
	} else if d.sa.Expiration != "" {
		if n, err := strconv.ParseInt(d.sa.Expiration, 10, 64); err != nil || n < MinExpiration || n > MaxExpiration {
			d.warnf("service account %q: annotation %s is %q, not %d to %d; only the pod's own annotation hides it",
				d.sa.Name, ExpirationAnnotation, d.sa.Expiration, MinExpiration, MaxExpiration)
		}
	}
	if value == "" {
		return DefaultExpiration, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, deny("annotation %s of %s: %v", ExpirationAnnotation, where, err)
	}
	if n < MinExpiration || n > MaxExpiration {
		return 0, deny("token expiration %d not valid. Expected value to be between %d and %d", n, MinExpiration, MaxExpiration)
	}
	return n, nil
}

// variables settles those that every container gets unless it has them. One
// without a value is left out.
func (d *decision) variables() {
	tenant := d.settings.TenantID
	if d.sa.HasTenantID {
		tenant = d.sa.TenantID
	}
	d.env, d.envNames = make([]jsontext.Value, 0, 8), make([]string, 0, 8)
	add := func(name, value string) {
		if value != "" {
			d.env, d.envNames = append(d.env, nameAndValue(name, value)), append(d.envNames, name)
		}
	}
	add(envClientID, d.sa.ClientID)
	add(envTenantID, tenant)
	add(envTokenFile, MountPath+"/"+TokenFilePath)
	add(envAuthorityHost, d.settings.AuthorityHost)
	if d.custom != nil {
		add(envTokenProxy, d.custom.TokenProxy)
		add(envSNIName, d.custom.SNIName)
		add(envCAFile, MountPath+"/"+CAFilePath)
		add(envCAData, d.custom.CAData)
	}
}

func nameAndValue(name, value string) jsontext.Value {
	b := make([]byte, 0, len(name)+len(value)+24)
	b = appendString(append(b, `{"name":`...), name)
	b = appendString(append(b, `,"value":`...), value)
	return append(b, '}')
}

// skipped reads the list of containers to leave alone.
func (d *decision) skipped() []string {
	list := d.pod.Metadata.Annotations[SkipContainersAnnotation]
	if list == "" {
		return nil
	}
	names := strings.Split(list, ";")
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
	}
	d.warnAboutSkips(names)
	return names
}

// containers adds variables and mounts to the containers at a path.
func (d *decision) containers(at string, list []*Container, init bool) {
	for i, c := range list {
		change := ContainerChange{Name: c.Name, Init: init}
		if slices.Contains(d.skip, c.Name) {
			change.Skipped = true
			d.out.Containers = append(d.out.Containers, change)
			continue
		}
		where := at + "/" + strconv.Itoa(i)
		change.Env = d.addEnv(where+"/env", c.Env)
		if change.Mounted = d.needsMount(c); change.Mounted {
			d.out.Patch.appendTo(where+"/volumeMounts", c.VolumeMounts != nil, []jsontext.Value{d.mount})
		}
		d.out.Containers = append(d.out.Containers, change)
	}
}

// addEnv adds the variables that a container does not have, and gives their names.
func (d *decision) addEnv(at string, has []EnvVar) []string {
	if has == nil && len(d.env) > 0 {
		d.out.Patch = append(d.out.Patch, Operation{Path: at, Value: d.envArray})
		return d.envNames
	}
	at += "/-"
	var added []string
	for i, name := range d.envNames {
		if slices.Contains(has, EnvVar{name}) {
			continue
		}
		d.out.Patch = append(d.out.Patch, Operation{Path: at, Value: d.env[i]})
		if added == nil {
			added = make([]string, 0, len(d.envNames)-i)
		}
		added = append(added, name)
	}
	return added
}

// needsMount is false when the token volume is mounted already, and when the
// container has something else in its place: a second mount at one path would
// make the API server refuse the pod.
func (d *decision) needsMount(c *Container) bool {
	for _, m := range c.VolumeMounts {
		clean := path.Clean(m.MountPath)
		if m.Name == d.volume && (clean == MountPath || strings.HasPrefix(clean, MountPath+"/")) {
			return false
		}
		if clean == MountPath {
			d.warnf("container %q mounts its own volume %q at %s: the token is not mounted there", c.Name, m.Name, MountPath)
			return false
		}
	}
	return true
}

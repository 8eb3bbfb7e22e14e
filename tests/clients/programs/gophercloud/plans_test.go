// Package gophercloud does what Terraform's OpenStack provider and Packer's builder do with images, call by call, with
// the library that both are built on. OS_* log the first project in, OTHER_USERNAME and its like the second; DISK is
// the file to upload. `../../gophercloud.py` runs it.
package gophercloud

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"io/ioutil"
	"os"
	"reflect"
	"sort"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud"
	"github.com/gophercloud/gophercloud/openstack"
	"github.com/gophercloud/gophercloud/openstack/imageservice/v2/imagedata"
	"github.com/gophercloud/gophercloud/openstack/imageservice/v2/images"
	"github.com/gophercloud/gophercloud/openstack/imageservice/v2/members"
	"github.com/gophercloud/gophercloud/pagination"
	th "github.com/gophercloud/gophercloud/testhelper"
)

// What every image has beside what gophercloud of this version knows by name. Anything else in an image's properties
// that was not asked for is a difference that a plan shows for ever.
var always = []string{"os_hash_algo", "os_hash_value", "os_hidden"}

type account struct {
	images  *gophercloud.ServiceClient
	project string
}

func login(t *testing.T, prefix string) account {
	project := os.Getenv(prefix + "PROJECT_ID")
	provider, err := openstack.AuthenticatedClient(gophercloud.AuthOptions{
		IdentityEndpoint: os.Getenv("OS_AUTH_URL"),
		Username:         os.Getenv(prefix + "USERNAME"),
		Password:         os.Getenv(prefix + "PASSWORD"),
		TenantID:         project,
		DomainID:         "default",
	})
	th.AssertNoErr(t, err)
	client, err := openstack.NewImageServiceV2(provider, gophercloud.EndpointOpts{Region: os.Getenv("OS_REGION_NAME")})
	th.AssertNoErr(t, err)
	return account{client, project}
}

func first(t *testing.T) account { return login(t, "OS_") }

func other(t *testing.T) account { return login(t, "OTHER_") }

func created(t *testing.T, by account, options images.CreateOpts) *images.Image {
	image, err := images.Create(by.images, options).Extract()
	th.AssertNoErr(t, err)
	t.Cleanup(func() { images.Delete(by.images, image.ID) })
	return image
}

func uploaded(t *testing.T, by account, id string) []byte {
	disk, err := os.Open(os.Getenv("DISK"))
	th.AssertNoErr(t, err)
	defer disk.Close()
	th.AssertNoErr(t, imagedata.Upload(by.images, id, disk).ExtractErr())
	for tries := 0; ; tries++ {
		image, err := images.Get(by.images, id).Extract()
		th.AssertNoErr(t, err)
		if image.Status == images.ImageStatusActive {
			break
		}
		if tries == 50 {
			t.Fatalf("the image is still %s", image.Status)
		}
		time.Sleep(100 * time.Millisecond)
	}
	content, err := ioutil.ReadFile(os.Getenv("DISK"))
	th.AssertNoErr(t, err)
	return content
}

func downloaded(t *testing.T, by account, id string) []byte {
	body, err := imagedata.Download(by.images, id).Extract()
	th.AssertNoErr(t, err)
	defer body.Close()
	content, err := ioutil.ReadAll(body)
	th.AssertNoErr(t, err)
	return content
}

func listed(t *testing.T, by account, options images.ListOpts) []images.Image {
	pages, err := images.List(by.images, options).AllPages()
	th.AssertNoErr(t, err)
	found, err := images.ExtractImages(pages)
	th.AssertNoErr(t, err)
	return found
}

func own(image *images.Image) map[string]string {
	properties := map[string]string{}
	for name, value := range image.Properties {
		properties[name], _ = value.(string)
	}
	for _, name := range always {
		delete(properties, name)
	}
	return properties
}

func sorted(tags []string) []string {
	sort.Strings(tags)
	return tags
}

func gone(t *testing.T, err error) {
	if _, missing := err.(gophercloud.ErrDefault404); !missing {
		t.Fatalf("not answered as missing: %v", err)
	}
}

// An openstack_images_image_v2: created, uploaded, planned again, changed, planned again, found as a data source, destroyed.
func TestAPlanSettlesAndItsChangesArrive(t *testing.T) {
	us := first(t)
	wanted := map[string]string{
		"os_distro": "debian", "hw:cpu_policy": "dedicated", "owner_specified.openstack.object": "images/plan", "note": "",
	}
	visibility := images.ImageVisibilityPrivate
	protected := false
	image := created(t, us, images.CreateOpts{
		Name: "planned", ContainerFormat: "bare", DiskFormat: "raw", MinDisk: 1, MinRAM: 64, Tags: []string{"b", "a"},
		Visibility: &visibility, Protected: &protected, Properties: wanted,
	})
	th.AssertEquals(t, images.ImageStatusQueued, image.Status)
	content := uploaded(t, us, image.ID)

	sum := md5.Sum(content)
	read, err := images.Get(us.images, image.ID).Extract()
	th.AssertNoErr(t, err)
	th.AssertEquals(t, hex.EncodeToString(sum[:]), read.Checksum)
	th.AssertEquals(t, int64(len(content)), read.SizeBytes)
	th.AssertEquals(t, us.project, read.Owner)
	th.AssertDeepEquals(t, wanted, own(read))
	th.AssertDeepEquals(t, []string{"a", "b"}, sorted(read.Tags))
	again, err := images.Get(us.images, image.ID).Extract()
	th.AssertNoErr(t, err)
	th.AssertDeepEquals(t, own(read), own(again))
	if !reflect.DeepEqual(read.Properties, again.Properties) {
		t.Fatalf("a second plan differs: %v and %v", read.Properties, again.Properties)
	}

	_, err = images.Update(us.images, image.ID, images.UpdateOpts{
		images.ReplaceImageName{NewName: "planned anew"},
		images.ReplaceImageTags{NewTags: []string{"c"}},
		images.ReplaceImageMinDisk{NewMinDisk: 2},
		images.ReplaceImageMinRam{NewMinRam: 128},
		images.UpdateVisibility{Visibility: images.ImageVisibilityShared},
		images.UpdateImageProperty{Op: images.ReplaceOp, Name: "os_distro", Value: "alpine"},
		images.UpdateImageProperty{Op: images.RemoveOp, Name: "note"},
		images.UpdateImageProperty{Op: images.AddOp, Name: "hw_disk_bus", Value: "scsi"},
	}).Extract()
	th.AssertNoErr(t, err)
	read, err = images.Get(us.images, image.ID).Extract()
	th.AssertNoErr(t, err)
	th.AssertEquals(t, "planned anew", read.Name)
	th.AssertEquals(t, images.ImageVisibilityShared, read.Visibility)
	th.AssertEquals(t, 2, read.MinDiskGigabytes)
	th.AssertEquals(t, 128, read.MinRAMMegabytes)
	th.AssertDeepEquals(t, []string{"c"}, read.Tags)
	th.AssertDeepEquals(t, map[string]string{
		"os_distro": "alpine", "hw:cpu_policy": "dedicated", "owner_specified.openstack.object": "images/plan",
		"hw_disk_bus": "scsi",
	}, own(read))

	found := listed(t, us, images.ListOpts{
		Name: "planned anew", Owner: us.project, Tags: []string{"c"}, Visibility: images.ImageVisibilityShared,
		SortKey: "name", SortDir: "asc", SizeMin: int64(len(content)), SizeMax: int64(len(content)),
	})
	th.AssertEquals(t, 1, len(found))
	th.AssertEquals(t, image.ID, found[0].ID)
	if !bytes.Equal(content, downloaded(t, us, image.ID)) {
		t.Fatal("other bytes came back")
	}

	th.AssertNoErr(t, images.Delete(us.images, image.ID).ExtractErr())
	_, err = images.Get(us.images, image.ID).Extract()
	gone(t, err)
}

// An openstack_images_image_access_v2 with its accept: offered, accepted, read, taken back.
func TestAnImageIsSharedAcceptedAndTakenBack(t *testing.T) {
	us, them := first(t), other(t)
	visibility := images.ImageVisibilityShared
	image := created(t, us, images.CreateOpts{
		Name: "offered", ContainerFormat: "bare", DiskFormat: "raw", Visibility: &visibility,
	})
	content := uploaded(t, us, image.ID)
	_, err := images.Get(them.images, image.ID).Extract()
	gone(t, err)

	member, err := members.Create(us.images, image.ID, them.project).Extract()
	th.AssertNoErr(t, err)
	th.AssertEquals(t, "pending", member.Status)
	th.AssertEquals(t, 0, len(listed(t, them, images.ListOpts{Name: "offered"})))
	member, err = members.Update(them.images, image.ID, them.project, members.UpdateOpts{Status: "accepted"}).Extract()
	th.AssertNoErr(t, err)
	th.AssertEquals(t, "accepted", member.Status)
	accepted := listed(t, them, images.ListOpts{
		Visibility: images.ImageVisibilityShared, MemberStatus: images.ImageMemberStatusAccepted, Owner: us.project,
	})
	th.AssertEquals(t, 1, len(accepted))
	if !bytes.Equal(content, downloaded(t, them, image.ID)) {
		t.Fatal("other bytes came to the member")
	}

	pages, err := members.List(us.images, image.ID).AllPages()
	th.AssertNoErr(t, err)
	all, err := members.ExtractMembers(pages)
	th.AssertNoErr(t, err)
	th.AssertEquals(t, 1, len(all))
	th.AssertNoErr(t, members.Delete(us.images, image.ID, them.project).ExtractErr())
	_, err = images.Get(them.images, image.ID).Extract()
	gone(t, err)
}

// A build of Packer: the newest image that fits the filter is its source; what it built gets tags, a minimum and a member.
func TestABuildFindsItsSourceAndPublishesItsResult(t *testing.T) {
	us, them := first(t), other(t)
	visibility := images.ImageVisibilityShared
	var newest *images.Image
	for _, version := range []string{"1", "2"} {
		newest = created(t, us, images.CreateOpts{
			Name: "base", ContainerFormat: "bare", DiskFormat: "raw", Tags: []string{"source"}, Visibility: &visibility,
			Properties: map[string]string{"version": version},
		})
		uploaded(t, us, newest.ID)
		time.Sleep(1100 * time.Millisecond) // times of creation are told in whole seconds
	}
	var source *images.Image
	filter := images.ListOpts{
		Name: "base", Owner: us.project, Tags: []string{"source"}, Status: images.ImageStatusActive, Sort: "created_at:desc",
		Limit: 1,
	}
	err := images.List(us.images, filter).EachPage(func(page pagination.Page) (bool, error) {
		found, err := images.ExtractImages(page)
		if err == nil && len(found) > 0 {
			source = &found[0]
		}
		return false, err
	})
	th.AssertNoErr(t, err)
	th.AssertEquals(t, newest.ID, source.ID)

	built := created(t, us, images.CreateOpts{Name: "built", ContainerFormat: "bare", DiskFormat: "raw", Visibility: &visibility})
	uploaded(t, us, built.ID)
	for _, change := range []images.Patch{
		images.ReplaceImageTags{NewTags: []string{"built", "today"}},
		images.ReplaceImageMinDisk{NewMinDisk: 3},
		images.UpdateVisibility{Visibility: images.ImageVisibilityShared},
		images.UpdateImageProperty{Op: images.AddOp, Name: "built_from", Value: source.ID},
	} {
		_, err := images.Update(us.images, built.ID, images.UpdateOpts{change}).Extract()
		th.AssertNoErr(t, err)
	}
	_, err = members.Create(us.images, built.ID, them.project).Extract()
	th.AssertNoErr(t, err)
	_, err = members.Update(them.images, built.ID, them.project, members.UpdateOpts{Status: "accepted"}).Extract()
	th.AssertNoErr(t, err)
	read, err := images.Get(them.images, built.ID).Extract()
	th.AssertNoErr(t, err)
	th.AssertDeepEquals(t, []string{"built", "today"}, sorted(read.Tags))
	th.AssertDeepEquals(t, map[string]string{"built_from": newest.ID}, own(read))
}

"""Every operation on metadata definitions of openstacksdk and python-glanceclient: ENDPOINT, without users."""
# mypy: ignore-errors

import sys

import openstack
from glanceclient import Client, exc
from keystoneauth1 import noauth, session
from refusals import refused

TITLE = {"title": "Title", "type": "string"}


def by_the_sdk(image):
    made = image.create_metadef_namespace(namespace="OS::Sdk", visibility="public", description="by the SDK")
    assert (made.namespace, made.is_protected) == ("OS::Sdk", False)
    assert [each.namespace for each in image.metadef_namespaces(sort_key="namespace", limit=1)] == ["OS::Sdk"]
    assert image.update_metadef_namespace(made, display_name="SDK", visibility="public").display_name == "SDK"
    image.create_metadef_resource_type_association("OS::Sdk", name="OS::Glance::Image", prefix="hw_")
    assert [each.name for each in image.metadef_resource_types()] == ["OS::Glance::Image"]
    [linked] = image.metadef_resource_type_associations("OS::Sdk")
    assert (linked.name, linked.prefix) == ("OS::Glance::Image", "hw_")
    image.create_metadef_property("OS::Sdk", name="size", **TITLE)
    assert image.update_metadef_property("size", "OS::Sdk", name="size", title="T", type="integer").type == "integer"
    assert [each.name for each in image.metadef_properties("OS::Sdk")] == ["size"]
    assert image.get_metadef_property("size", "OS::Sdk").title == "T"
    image.create_metadef_object("OS::Sdk", name="disk", required=["size"], properties={"size": TITLE})
    assert image.get_metadef_object("disk", "OS::Sdk").required == ["size"]
    assert image.update_metadef_object("disk", "OS::Sdk", name="drive", description="d").name == "drive"
    assert [each.name for each in image.metadef_objects("OS::Sdk")] == ["drive"]
    image.delete_metadef_object("drive", "OS::Sdk")
    image.delete_all_metadef_objects("OS::Sdk")
    image.delete_metadef_property("size", "OS::Sdk")
    image.delete_all_metadef_properties("OS::Sdk")
    image.remove_tags_from_metadef_namespace("OS::Sdk")
    image.delete_metadef_resource_type_association("OS::Glance::Image", "OS::Sdk")
    for schema in (
        image.get_metadef_namespace_schema(), image.get_metadef_namespaces_schema(), image.get_metadef_object_schema(),
        image.get_metadef_objects_schema(), image.get_metadef_property_schema(), image.get_metadef_properties_schema(),
        image.get_metadef_resource_type_schema(), image.get_metadef_resource_types_schema(),
        image.get_metadef_tag_schema(), image.get_metadef_tags_schema(),
    ):  # fmt: skip
        assert schema.properties
    image.delete_metadef_namespace("OS::Sdk")
    refused(openstack.exceptions.NotFoundException, image.get_metadef_namespace, "OS::Sdk")


def by_glanceclient(glance):
    glance.metadefs_namespace.create(namespace="OS::Glance", visibility="public", properties={"p": TITLE})
    refused(exc.HTTPConflict, glance.metadefs_namespace.create, namespace="OS::Glance")
    assert glance.metadefs_namespace.update("OS::Glance", description="d").description == "d"
    assert [each.namespace for each in glance.metadefs_namespace.list()] == ["OS::Glance"]
    glance.metadefs_resource_type.associate("OS::Glance", name="OS::Nova::Flavor", prefix="hw:")
    assert [each.name for each in glance.metadefs_resource_type.get("OS::Glance")] == ["OS::Nova::Flavor"]
    assert "OS::Nova::Flavor" in [each.name for each in glance.metadefs_resource_type.list()]
    whole = glance.metadefs_namespace.get("OS::Glance", resource_type="OS::Nova::Flavor")
    assert list(whole.properties) == ["hw:p"]
    filters = {"resource_types": ["OS::Nova::Flavor"]}
    assert len(list(glance.metadefs_namespace.list(filters=filters, page_size=1))) == 1
    glance.metadefs_property.create("OS::Glance", name="q", **TITLE)
    assert glance.metadefs_property.update("OS::Glance", "q", title="other").title == "other"
    assert glance.metadefs_property.get("OS::Glance", "q").title == "other"
    assert sorted(each.name for each in glance.metadefs_property.list("OS::Glance")) == ["p", "q"]
    glance.metadefs_property.delete("OS::Glance", "q")
    glance.metadefs_property.delete_all("OS::Glance")
    glance.metadefs_object.create("OS::Glance", name="o", properties={"p": TITLE})
    assert glance.metadefs_object.update("OS::Glance", "o", description="d").description == "d"
    assert [each.name for each in glance.metadefs_object.list("OS::Glance")] == ["o"]
    glance.metadefs_object.delete("OS::Glance", "o")
    glance.metadefs_object.delete_all("OS::Glance")
    glance.metadefs_tag.create("OS::Glance", "one")
    # It asks only when its answer is read; `append` fails in it, before anything is sent.
    assert len(list(glance.metadefs_tag.create_multiple("OS::Glance", tags=["one", "two", "three"]))) == 3
    assert [each.name for each in glance.metadefs_tag.list("OS::Glance")] == ["three", "two", "one"]
    assert glance.metadefs_tag.update("OS::Glance", "one", name="first").name == "first"
    assert glance.metadefs_tag.get("OS::Glance", "first").name == "first"
    glance.metadefs_tag.delete("OS::Glance", "first")
    glance.metadefs_tag.delete_all("OS::Glance")
    glance.metadefs_resource_type.deassociate("OS::Glance", "OS::Nova::Flavor")
    glance.metadefs_namespace.delete("OS::Glance")
    refused(exc.HTTPNotFound, glance.metadefs_namespace.get, "OS::Glance")


ENDPOINT = sys.argv[1]
by_the_sdk(openstack.connect(auth_type="none", image_endpoint_override=f"{ENDPOINT}/v2").image)
by_glanceclient(Client("2", endpoint=ENDPOINT, session=session.Session(auth=noauth.NoAuth(endpoint=ENDPOINT))))
print("ok")

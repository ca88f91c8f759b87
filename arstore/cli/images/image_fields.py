"""Fields of an image for Go templates in `inspect --format`: podman's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.images.images_options import moment_of
from arstore.cli.terminal.formats.values import Fields, Twofold
from arstore.cli.terminal.spans import go_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.graph.records import LayerRecord
    from arstore.oci.config import ImageConfig
    from arstore.store.store import StoredImage


def image_fields(image: StoredImage, config: ImageConfig, chain: Sequence[tuple[str, LayerRecord]]) -> Fields:
    """Return the document; `Id` is the digest of the manifest, which is what arstore's commands take."""
    repositories = dict.fromkeys(name.rpartition(":")[0] or name for name in image.names)
    labels = dict(config.labels)
    return Fields(
        Id=image.digest.partition(":")[2],
        Digest=str(image.digest),
        RepoTags=list(image.names),
        RepoDigests=[f"{name}@{image.digest}" for name in repositories],
        Parent="",
        Comment="",
        Created=Twofold(go_time(moment_of(config.created)), config.created),
        Config=Fields(
            User=config.user,
            ExposedPorts={port: {} for port in config.exposed_ports},
            Env=list(config.env),
            Entrypoint=list(config.entrypoint) or None,
            Cmd=list(config.cmd) or None,
            Volumes={place: {} for place in config.volumes},
            WorkingDir=config.working_dir,
            Labels=labels,
            StopSignal=config.stop_signal,
        ),
        Version="",
        Author=config.author,
        Architecture=config.platform.architecture,
        Variant=config.platform.variant,
        Os=config.platform.os,
        Size=image.record.size,
        VirtualSize=image.record.size,
        GraphDriver=Fields(Name="overlay", Data={}),
        RootFS=Fields(Type="layers", Layers=[str(layer.diff_id) for _, layer in reversed(chain)]),
        Labels=labels,
        Annotations={},
        ManifestType=image.record.media_type,
        User=config.user,
        History=[
            Fields(
                created=one.created,
                created_by=one.created_by,
                author=one.author,
                comment=one.comment,
                empty_layer=one.empty_layer,
            )
            for one in config.history
        ],
        NamesHistory=list(image.names),
        Healthcheck=None if config.healthcheck is None else dict(config.healthcheck),
    )

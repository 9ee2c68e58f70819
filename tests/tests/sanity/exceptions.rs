//! The specs of csi-sanity that are not run, each with the reason.

use rds_csi_tests::sanity::Exception;

const SNAPSHOTS: &str = "the driver has no snapshots yet and says so in its capabilities";
const CLONES: &str = "the driver makes no clones: that a device copies content, and not only \
                      settings, has not been shown";
const ATTRIBUTES: &str = "nothing of a volume can be changed but its size, so the driver \
                          takes no volume attributes class";
const GROUPS: &str = "there are no groups of volumes, as there are no snapshots of them";

/// All of them.
pub(crate) const EXCEPTIONS: &[Exception] = &[
    Exception {
        reason: "csi-sanity has it switched off as fragile; the controller's own tests page through \
                 lists that change",
        container: "Controller Service [Controller Server] ListVolumes",
        specs: &[
            "pagination should detect volumes added between pages and accept tokens when the \
             last volume from a page is deleted",
        ],
    },
    Exception {
        reason: "the node tells its limit and the scheduler keeps to it; the controller \
                 attaches what the scheduler has placed",
        container: "Controller Service [Controller Server] ControllerPublishVolume",
        specs: &["should fail when publishing more volumes than the node max attach limit"],
    },
    Exception {
        reason: "the node enforces what is read-only, by mount or device, so the controller \
                 does not offer PUBLISH_READONLY",
        container: "Controller Service [Controller Server] ControllerPublishVolume",
        specs: &["should fail when the volume is already published but is incompatible"],
    },
    Exception {
        reason: SNAPSHOTS,
        container: "Controller Service [Controller Server] CreateVolume",
        specs: &[
            "should create volume from an existing source snapshot",
            "should fail when the volume source snapshot is not found",
        ],
    },
    Exception {
        reason: SNAPSHOTS,
        container: "CreateSnapshot [Controller Server]",
        specs: &[
            "should fail when no name is provided",
            "should fail when no source volume id is provided",
            "should succeed when requesting to create a snapshot with already existing name and \
             same source volume ID",
            "should fail when requesting to create a snapshot with already existing name and \
             different source volume ID",
            "should succeed when creating snapshot with maximum-length name",
        ],
    },
    Exception {
        reason: SNAPSHOTS,
        container: "DeleteSnapshot [Controller Server]",
        specs: &[
            "should fail when no snapshot id is provided",
            "should succeed when an invalid snapshot id is used",
            "should return appropriate values (no optional values added)",
        ],
    },
    Exception {
        reason: SNAPSHOTS,
        container: "ListSnapshots [Controller Server]",
        specs: &[
            "should return appropriate values (no optional values added)",
            "should return snapshots that match the specified snapshot id",
            "should return empty when the specified snapshot id does not exist",
            "should return snapshots that match the specified source volume id",
            "should return empty when the specified source volume id does not exist",
            "check the presence of new snapshots in the snapshot list",
            "should return next token when a limited number of entries are requested",
        ],
    },
    Exception {
        reason: CLONES,
        container: "Controller Service [Controller Server] CreateVolume",
        specs: &[
            "should create volume from an existing source volume",
            "should fail when the volume source volume is not found",
        ],
    },
    Exception {
        reason: ATTRIBUTES,
        container: "Controller Service [Controller Server] CreateVolume",
        specs: &[
            "should create volume with a volume attribute class",
            "should not create volume with an invalid volume attribute class",
        ],
    },
    Exception {
        reason: ATTRIBUTES,
        container: "ModifyVolume [Controller Server]",
        specs: &[
            "should fail if no volume id is given",
            "should fail if volume does not exist",
            "should fail if specified mutable parameters are not supported by the volume",
            "should modify a volume created without a volume attribute class",
            "should modify a volume created with a volume attribute class",
            "should fail to modify a volume created with a volume attribute class if new \
             mutable parameters are not supported by volume",
        ],
    },
    Exception {
        reason: GROUPS,
        container: "GroupController Service [GroupController Server] GroupControllerGetCapabilities",
        specs: &["should return appropriate capabilities"],
    },
    Exception {
        reason: GROUPS,
        container: "GroupController Service [GroupController VolumeGroupSnapshots] CreateVolumeGroupSnapshot",
        specs: &["should fail when no name is provided"],
    },
    Exception {
        reason: GROUPS,
        container: "GroupController Service [GroupController VolumeGroupSnapshots] GetVolumeGroupSnapshot",
        specs: &[
            "should fail when no volume id is provided",
            "should fail when an invalid volume id is used",
        ],
    },
    Exception {
        reason: GROUPS,
        container: "GroupController Service [GroupController VolumeGroupSnapshots] DeleteVolumeGroupSnapshot",
        specs: &[
            "should fail when no volume id is provided",
            "should succeed when an invalid volume id is used",
        ],
    },
];

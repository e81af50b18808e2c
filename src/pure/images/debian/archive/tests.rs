use super::{ArchiveError, Control, Deb};
use crate::pure::images::layer::testing::{CONTROL, ar, deb_of, file, folder, pack, tar};

const MEMORY: u64 = 16 << 20;

fn read(bytes: &[u8]) -> Result<(Control, Vec<u8>), ArchiveError> {
    let deb = Deb::open(bytes, MEMORY)?;
    let (control, explain) = (deb.control().clone(), deb.explain());
    let data = deb.data(|data| {
        let mut all = Vec::new();
        data.read_to_end(&mut all).map_err(&explain)?;
        Ok::<_, ArchiveError>(all)
    })?;
    Ok((control, data))
}

fn control_with(text: &str) -> Vec<u8> {
    deb_of("", text, b"")
}

#[test]
fn every_packing_gives_the_same() {
    let data = tar(&[folder("./"), file("./a", &[7; 5000])]);
    for ending in ["", ".gz", ".xz", ".zst"] {
        let (control, found) = read(&deb_of(ending, CONTROL, &data)).unwrap();
        assert_eq!(
            control,
            Control {
                package: "demo".to_owned(),
                version: "1:2.0-3".to_owned(),
                arch: "amd64".to_owned(),
                installed_size: 10,
            }
        );
        assert_eq!(found, data, "{ending}");
    }
}

#[test]
fn a_package_that_is_cut_off_anywhere_is_refused() {
    let data = tar(&[file("./a", b"some content")]);
    for ending in ["", ".gz", ".xz", ".zst"] {
        let whole = deb_of(ending, CONTROL, &data);
        // The last byte may be the padding of the last member, which may be missing.
        let padding = usize::from(whole.ends_with(b"\n"));
        for end in 0..whole.len() - padding {
            assert!(read(&whole[..end]).is_err(), "{ending} {end}");
        }
    }
}

#[test]
fn what_is_no_package_is_refused_by_name() {
    let (control, data) = (tar(&[file("./control", CONTROL.as_bytes())]), tar(&[]));
    let binary = ("debian-binary", b"2.0\n".as_slice());
    let bomb = pack(".xz", &vec![0; 40 << 20]);
    let good_xz = pack(".xz", &data);
    let trailing = [good_xz.as_slice(), b"more"].concat();
    let cases: &[(Vec<u8>, &str)] = &[
        (b"".to_vec(), "`!<arch>`"),
        (b"!<arch>".to_vec(), "`!<arch>`"),
        (b"!<arch>\n".to_vec(), "(none)"),
        (ar(&[("control.tar", &control)]), "`control.tar`"),
        (ar(&[("debian-binary", b"3.0\n")]), "version `3.0`"),
        (ar(&[("debian-binary", &[b'2'; 65])]), "larger than"),
        (ar(&[binary, ("data.tar", &data)]), "`data.tar`"),
        (
            ar(&[binary, ("control.tar.lzma", &control)]),
            "`control.tar.lzma`",
        ),
        (ar(&[binary, ("control.tar", &control)]), "(none)"),
        (
            ar(&[binary, ("control.tar", &control), ("data.tar.bz2", &data)]),
            "`data.tar.bz2`",
        ),
        (
            ar(&[
                binary,
                ("control.tar", &control),
                ("data.tar", &data),
                ("data.tar", &data),
            ]),
            "`data.tar` is where `the end`",
        ),
        (
            ar(&[binary, ("control.tar", &data)]),
            "control file is missing",
        ),
        (ar(&[binary, ("control.tar.xz", &bomb)]), "larger than"),
        (
            ar(&[
                binary,
                ("control.tar", &control),
                ("data.tar.xz", &trailing),
            ]),
            "goes on after",
        ),
        (
            ar(&[
                binary,
                ("control.tar", &control),
                ("data.tar.xz", b"no xz at all"),
            ]),
            "`data.tar.xz` cannot be unpacked",
        ),
        (control_with("Package demo\n"), "no field: `Package demo`"),
        (
            control_with("Package: a\npackage: b\n"),
            "the field `package` twice",
        ),
        (
            control_with("Package: a\nVersion: 1\n"),
            "no field `Architecture`",
        ),
        (
            control_with("Package: a\nVersion: 1\nArchitecture: all\nInstalled-Size: -1\n"),
            "no number as `Installed-Size`",
        ),
        (control_with("Package: a\n\nPackage: b\n"), "no field: ``"),
    ];
    for (bytes, expected) in cases {
        let error = read(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
    // A header whose size is no number, is negative, or is more than there is.
    for size in ["x", "-1", "99999999999", ""] {
        let header = format!("!<arch>\n{:<16}{:<32}{size:<10}`\n", "debian-binary", "");
        assert!(read(header.as_bytes()).is_err(), "{size}");
    }
}

#[test]
fn members_of_other_tools_are_passed_over() {
    let (control, data) = (tar(&[file("control", CONTROL.as_bytes())]), tar(&[]));
    let deb = ar(&[
        ("debian-binary/", b"2.1\nmore\n"),
        ("_a", b"odd"),
        ("control.tar/", &control),
        ("_b", b""),
        ("data.tar/", &data),
        ("_gpgorigin", b"sig"),
    ]);
    assert_eq!(read(&deb).unwrap().1, data);
}

#[test]
fn a_decoder_that_needs_more_memory_says_so() {
    let data = tar(&[file("./a", &[0; 100_000])]);
    let preset = liblzma::stream::Stream::new_easy_encoder(9, liblzma::stream::Check::Crc64);
    let mut xz = liblzma::write::XzEncoder::new_stream(Vec::new(), preset.unwrap());
    std::io::Write::write_all(&mut xz, &data).unwrap();
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.window_log(27).unwrap();
    std::io::Write::write_all(&mut zstd, &data).unwrap();
    for (ending, packed) in [
        (".xz", xz.finish().unwrap()),
        (".zst", zstd.finish().unwrap()),
    ] {
        let control = pack(ending, &tar(&[file("control", CONTROL.as_bytes())]));
        let deb = ar(&[
            ("debian-binary", b"2.0\n"),
            (&format!("control.tar{ending}"), &control),
            (&format!("data.tar{ending}"), &packed),
        ]);
        let error = read(&deb).unwrap_err();
        assert!(matches!(error, ArchiveError::Memory(_)), "{ending} {error}");
        let deb = Deb::open(deb.as_slice(), 200 << 20).unwrap();
        let read = deb.data(|data| {
            let mut all = Vec::new();
            data.read_to_end(&mut all).map_err(ArchiveError::Read)?;
            Ok::<_, ArchiveError>(all)
        });
        assert_eq!(read.unwrap(), data);
    }
}

#[test]
fn what_is_left_of_the_data_is_an_error() {
    for ending in ["", ".gz", ".xz", ".zst"] {
        let deb = deb_of(ending, CONTROL, &tar(&[file("./a", &[1; 3000])]));
        let deb = Deb::open(deb.as_slice(), MEMORY).unwrap();
        let done = deb.data(|data| {
            let read = data.read(&mut [0; 10]).map(drop);
            read.map_err(ArchiveError::Read)
        });
        assert!(matches!(done, Err(ArchiveError::After(_))), "{done:?}");
    }
}

//! The papers: README and CHANGELOG.

/// crates.io shows the README alone: there a relative link is dead.
#[test]
fn every_link_of_the_readme_and_the_changelog_is_to_https_or_within_the_page() {
    for paper in [include_str!("../../README.md"), include_str!("../../CHANGELOG.md")] {
        let references = paper.lines().filter_map(|line| {
            let (name, target) = line.split_once("]: ")?;
            name.starts_with('[').then_some(target)
        });
        let inline = paper.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        let links: Vec<&str> = references.chain(inline).collect();
        assert!(!links.is_empty());
        for link in links {
            assert!(link.starts_with("https://") || link.starts_with('#'), "{link}");
        }
    }
}

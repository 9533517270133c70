//! What two papers say must be the same.

#[test]
fn the_readme_and_the_crate_page_have_one_table_of_file_systems() {
    let table = include_str!("../../src/file-systems.md");
    assert!(include_str!("../../README.md").contains(table.trim_end()));
}
